//! etcd's own table of gRPC errors (`rpctypes` of 3.7), typed in a second time.

use tonic::{Code, Status};

use super::RequestError;

#[rustfmt::skip]
const ETCD: [(RequestError, Code, &str); 64] = {
    use RequestError::*;
    use tonic::Code as C;
    [
        (EmptyKey, C::InvalidArgument, "etcdserver: key is not provided"),
        (KeyNotFound, C::InvalidArgument, "etcdserver: key not found"),
        (ValueProvided, C::InvalidArgument, "etcdserver: value is provided"),
        (LeaseProvided, C::InvalidArgument, "etcdserver: lease is provided"),
        (TooManyOps, C::InvalidArgument, "etcdserver: too many operations in txn request"),
        (DuplicateKey, C::InvalidArgument, "etcdserver: duplicate key given in txn request"),
        (InvalidClientApiVersion, C::InvalidArgument, "etcdserver: invalid client api version"),
        (InvalidSortOption, C::InvalidArgument, "etcdserver: invalid sort option"),
        (Compacted, C::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
        (FutureRevision, C::OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
        (NoSpace, C::ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
        (LeaseNotFound, C::NotFound, "etcdserver: requested lease not found"),
        (LeaseExists, C::FailedPrecondition, "etcdserver: lease already exists"),
        (LeaseTtlTooLarge, C::OutOfRange, "etcdserver: too large lease TTL"),
        (WatchCanceled, C::Cancelled, "etcdserver: watch canceled"),
        (MemberExists, C::FailedPrecondition, "etcdserver: member ID already exist"),
        (PeerUrlExists, C::FailedPrecondition, "etcdserver: Peer URLs already exists"),
        (NotEnoughStartedMembers, C::FailedPrecondition, "etcdserver: re-configuration failed due to not enough started members"),
        (MemberBadUrls, C::InvalidArgument, "etcdserver: given member URLs are invalid"),
        (MemberNotFound, C::NotFound, "etcdserver: member not found"),
        (MemberNotLearner, C::FailedPrecondition, "etcdserver: can only promote a learner member"),
        (LearnerNotReady, C::FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader"),
        (TooManyLearners, C::FailedPrecondition, "etcdserver: too many learner members in cluster"),
        (ClusterIdMismatch, C::FailedPrecondition, "etcdserver: cluster ID mismatch"),
        (RequestTooLarge, C::InvalidArgument, "etcdserver: request is too large"),
        (TooManyRequests, C::ResourceExhausted, "etcdserver: too many requests"),
        (RootUserNotExist, C::FailedPrecondition, "etcdserver: root user does not exist"),
        (RootRoleNotExist, C::FailedPrecondition, "etcdserver: root user does not have root role"),
        (UserAlreadyExist, C::FailedPrecondition, "etcdserver: user name already exists"),
        (UserEmpty, C::InvalidArgument, "etcdserver: user name is empty"),
        (UserNotFound, C::FailedPrecondition, "etcdserver: user name not found"),
        (RoleAlreadyExist, C::FailedPrecondition, "etcdserver: role name already exists"),
        (RoleNotFound, C::FailedPrecondition, "etcdserver: role name not found"),
        (RoleEmpty, C::InvalidArgument, "etcdserver: role name is empty"),
        (AuthFailed, C::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"),
        (PermissionNotGiven, C::InvalidArgument, "etcdserver: permission not given"),
        (PermissionDenied, C::PermissionDenied, "etcdserver: permission denied"),
        (RoleNotGranted, C::FailedPrecondition, "etcdserver: role is not granted to the user"),
        (PermissionNotGranted, C::FailedPrecondition, "etcdserver: permission is not granted to the role"),
        (AuthNotEnabled, C::FailedPrecondition, "etcdserver: authentication is not enabled"),
        (InvalidAuthToken, C::Unauthenticated, "etcdserver: invalid auth token"),
        (InvalidAuthMgmt, C::InvalidArgument, "etcdserver: invalid auth management"),
        (AuthOldRevision, C::InvalidArgument, "etcdserver: revision of auth store is old"),
        (NoLeader, C::Unavailable, "etcdserver: no leader"),
        // Not in the table: an internal error, told as it is.
        (TimeoutLeaderTransfer, C::Unknown, "etcdserver: request timed out, leader transfer took too long"),
        (NotLeader, C::FailedPrecondition, "etcdserver: not leader"),
        (LeaderChanged, C::Unavailable, "etcdserver: leader changed"),
        (NotCapable, C::FailedPrecondition, "etcdserver: not capable"),
        (Stopped, C::Unavailable, "etcdserver: server stopped"),
        (Timeout, C::Unavailable, "etcdserver: request timed out"),
        (TimeoutLeaderFail, C::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
        (TimeoutConnectionLost, C::Unavailable, "etcdserver: request timed out, possibly due to connection lost"),
        (TimeoutWaitAppliedIndex, C::Unavailable, "etcdserver: request timed out, waiting for the applied index took too long"),
        (Unhealthy, C::Unavailable, "etcdserver: unhealthy cluster"),
        (Corrupt, C::DataLoss, "etcdserver: corrupt cluster"),
        (NotSupportedForLearner, C::FailedPrecondition, "etcdserver: rpc not supported for learner"),
        (BadLeaderTransferee, C::FailedPrecondition, "etcdserver: bad leader transferee"),
        (WrongDowngradeVersionFormat, C::InvalidArgument, "etcdserver: wrong downgrade target version format"),
        (InvalidDowngradeTargetVersion, C::InvalidArgument, "etcdserver: invalid downgrade target version"),
        (ClusterVersionUnavailable, C::FailedPrecondition, "etcdserver: cluster version not found during downgrade"),
        (DowngradeInProcess, C::FailedPrecondition, "etcdserver: cluster has a downgrade job in progress"),
        (NoInflightDowngrade, C::FailedPrecondition, "etcdserver: no inflight downgrade job"),
        (Canceled, C::Cancelled, "etcdserver: request canceled"),
        (DeadlineExceeded, C::DeadlineExceeded, "etcdserver: context deadline exceeded"),
    ]
};

#[test]
fn every_error_has_etcds_code_and_text() {
    for (error, code, text) in ETCD {
        let status = Status::from(error);
        assert_eq!((status.code(), status.message()), (code, text), "{error:?}");
    }
}

#[test]
fn no_error_is_missing_and_none_is_our_own() {
    for error in RequestError::ALL {
        assert!(ETCD.iter().any(|(known, ..)| known == error), "{error:?} is not etcd's");
    }
    assert_eq!(ETCD.len(), RequestError::ALL.len());
}

#[test]
fn what_is_not_offered_is_unimplemented_and_says_so() {
    let status = Status::from(RequestError::Unsupported("evenkeel: not yet"));
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "evenkeel: not yet"));
}
