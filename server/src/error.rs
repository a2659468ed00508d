//! Why a client's request failed, and how etcd says it: a gRPC code and an exact text.
//!
//! Clients match on both. The Go client turns texts back into typed errors, retries `Unavailable` only, and gives
//! up on codes it does not know; so neither code nor text may drift. The table below is the whole list, and a test
//! holds it against a second copy of etcd's.

use tonic::{Code, Status};

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:ident, $text:literal;)*) => {
        /// Why a request failed. What etcd has no text for is [`RequestError::Unsupported`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum RequestError {
            $($(#[$doc])* $name,)*
            /// Not offered by this server (yet), and what to tell the client.
            Unsupported(&'static str),
        }

        impl RequestError {
            /// Every error that has a text of its own.
            pub const ALL: &'static [RequestError] = &[$(RequestError::$name,)*];

            /// The code on the wire.
            pub const fn code(self) -> Code {
                match self {
                    $(RequestError::$name => Code::$code,)*
                    RequestError::Unsupported(_) => Code::Unimplemented,
                }
            }

            /// Back from the text.
            pub fn told(text: &str) -> Option<RequestError> {
                RequestError::ALL.iter().copied().find(|error| error.text() == text)
            }

            /// The text on the wire.
            pub const fn text(self) -> &'static str {
                match self {
                    $(RequestError::$name => $text,)*
                    RequestError::Unsupported(text) => text,
                }
            }
        }
    };
}

errors! {
    /// A request names no key.
    EmptyKey = InvalidArgument, "etcdserver: key is not provided";
    /// A put keeps the value or lease of a key that does not exist, or an operation is empty.
    KeyNotFound = InvalidArgument, "etcdserver: key not found";
    /// A put both keeps and gives the value.
    ValueProvided = InvalidArgument, "etcdserver: value is provided";
    /// A put both keeps and gives the lease.
    LeaseProvided = InvalidArgument, "etcdserver: lease is provided";
    /// A transaction is larger than the limit.
    TooManyOps = InvalidArgument, "etcdserver: too many operations in txn request";
    /// A transaction writes one key twice.
    DuplicateKey = InvalidArgument, "etcdserver: duplicate key given in txn request";
    /// The client's version in the metadata is not text.
    InvalidClientApiVersion = InvalidArgument, "etcdserver: invalid client api version";
    /// An unknown order or target of sorting.
    InvalidSortOption = InvalidArgument, "etcdserver: invalid sort option";
    /// The revision's history is gone.
    Compacted = OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    /// The revision does not exist yet.
    FutureRevision = OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    /// The store is at its quota.
    NoSpace = ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    /// There is no such lease.
    LeaseNotFound = NotFound, "etcdserver: requested lease not found";
    /// There is such a lease already.
    LeaseExists = FailedPrecondition, "etcdserver: lease already exists";
    /// A lease may not live that long.
    LeaseTtlTooLarge = OutOfRange, "etcdserver: too large lease TTL";
    /// The client ended its watch stream.
    WatchCanceled = Cancelled, "etcdserver: watch canceled";
    /// There is such a member already.
    MemberExists = FailedPrecondition, "etcdserver: member ID already exist";
    /// Another member has these URLs.
    PeerUrlExists = FailedPrecondition, "etcdserver: Peer URLs already exists";
    /// The change would leave too few started members.
    NotEnoughStartedMembers = FailedPrecondition,
        "etcdserver: re-configuration failed due to not enough started members";
    /// URLs that cannot be a member's.
    MemberBadUrls = InvalidArgument, "etcdserver: given member URLs are invalid";
    /// There is no such member.
    MemberNotFound = NotFound, "etcdserver: member not found";
    /// Only learners can be promoted.
    MemberNotLearner = FailedPrecondition, "etcdserver: can only promote a learner member";
    /// The learner lags too far behind.
    LearnerNotReady = FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader";
    /// There are as many learners as there may be.
    TooManyLearners = FailedPrecondition, "etcdserver: too many learner members in cluster";
    /// The request is meant for another cluster.
    ClusterIdMismatch = FailedPrecondition, "etcdserver: cluster ID mismatch";
    /// The request is larger than the limit.
    RequestTooLarge = InvalidArgument, "etcdserver: request is too large";
    /// Too much waits to be applied. Try again later.
    TooManyRequests = ResourceExhausted, "etcdserver: too many requests";
    /// Authentication needs a root user.
    RootUserNotExist = FailedPrecondition, "etcdserver: root user does not exist";
    /// The root user needs the root role.
    RootRoleNotExist = FailedPrecondition, "etcdserver: root user does not have root role";
    /// There is such a user already.
    UserAlreadyExist = FailedPrecondition, "etcdserver: user name already exists";
    /// A user needs a name.
    UserEmpty = InvalidArgument, "etcdserver: user name is empty";
    /// There is no such user.
    UserNotFound = FailedPrecondition, "etcdserver: user name not found";
    /// There is such a role already.
    RoleAlreadyExist = FailedPrecondition, "etcdserver: role name already exists";
    /// There is no such role.
    RoleNotFound = FailedPrecondition, "etcdserver: role name not found";
    /// A role needs a name.
    RoleEmpty = InvalidArgument, "etcdserver: role name is empty";
    /// Wrong user or password.
    AuthFailed = InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    /// A grant names no permission.
    PermissionNotGiven = InvalidArgument, "etcdserver: permission not given";
    /// The user may not do this.
    PermissionDenied = PermissionDenied, "etcdserver: permission denied";
    /// The user does not have the role.
    RoleNotGranted = FailedPrecondition, "etcdserver: role is not granted to the user";
    /// The role does not have the permission.
    PermissionNotGranted = FailedPrecondition, "etcdserver: permission is not granted to the role";
    /// Authentication is off.
    AuthNotEnabled = FailedPrecondition, "etcdserver: authentication is not enabled";
    /// The token means nothing here.
    InvalidAuthToken = Unauthenticated, "etcdserver: invalid auth token";
    /// Root's own rights cannot be taken while authentication is on.
    InvalidAuthMgmt = InvalidArgument, "etcdserver: invalid auth management";
    /// Users or roles changed since the token was made.
    AuthOldRevision = InvalidArgument, "etcdserver: revision of auth store is old";
    /// Nobody leads at present. Try again.
    NoLeader = Unavailable, "etcdserver: no leader";
    /// The next leader did not take over in time. It may yet.
    TimeoutLeaderTransfer = Unknown, "etcdserver: request timed out, leader transfer took too long";
    /// Only the leader can do this. Ask it.
    NotLeader = FailedPrecondition, "etcdserver: not leader";
    /// The leader changed while the request waited. It may have been done.
    LeaderChanged = Unavailable, "etcdserver: leader changed";
    /// The cluster's version is too old for this.
    NotCapable = FailedPrecondition, "etcdserver: not capable";
    /// The member is going down. Ask another one.
    Stopped = Unavailable, "etcdserver: server stopped";
    /// No answer in time. The request may have been done.
    Timeout = Unavailable, "etcdserver: request timed out";
    /// The same, and the leader was lost meanwhile.
    TimeoutLeaderFail = Unavailable, "etcdserver: request timed out, possibly due to previous leader failure";
    /// The same, and too few members can be reached.
    TimeoutConnectionLost = Unavailable, "etcdserver: request timed out, possibly due to connection lost";
    /// The member lags behind what it knows to be committed.
    TimeoutWaitAppliedIndex = Unavailable,
        "etcdserver: request timed out, waiting for the applied index took too long";
    /// Too few members are connected to change the membership.
    Unhealthy = Unavailable, "etcdserver: unhealthy cluster";
    /// Members disagree, or a value fails its checksum: nothing is served that cannot be trusted.
    Corrupt = DataLoss, "etcdserver: corrupt cluster";
    /// Learners do not answer this.
    NotSupportedForLearner = FailedPrecondition, "etcdserver: rpc not supported for learner";
    /// Leadership cannot go to that member.
    BadLeaderTransferee = FailedPrecondition, "etcdserver: bad leader transferee";
    /// Not a version.
    WrongDowngradeVersionFormat = InvalidArgument, "etcdserver: wrong downgrade target version format";
    /// A downgrade goes down by one minor version.
    InvalidDowngradeTargetVersion = InvalidArgument, "etcdserver: invalid downgrade target version";
    /// The cluster has no version yet.
    ClusterVersionUnavailable = FailedPrecondition, "etcdserver: cluster version not found during downgrade";
    /// One downgrade at a time.
    DowngradeInProcess = FailedPrecondition, "etcdserver: cluster has a downgrade job in progress";
    /// There is no downgrade to cancel.
    NoInflightDowngrade = FailedPrecondition, "etcdserver: no inflight downgrade job";
    /// The client gave up.
    Canceled = Cancelled, "etcdserver: request canceled";
    /// The client's deadline passed.
    DeadlineExceeded = DeadlineExceeded, "etcdserver: context deadline exceeded";
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for RequestError {}

impl From<evenkeel_mvcc::Error> for RequestError {
    fn from(error: evenkeel_mvcc::Error) -> RequestError {
        use evenkeel_mvcc::Error;
        match error {
            Error::EmptyKey => RequestError::EmptyKey,
            Error::KeyNotFound => RequestError::KeyNotFound,
            Error::Compacted { .. } => RequestError::Compacted,
            Error::FutureRevision { .. } => RequestError::FutureRevision,
            Error::LeaseNotFound => RequestError::LeaseNotFound,
            Error::LeaseExists => RequestError::LeaseExists,
            Error::LeaseTtlTooLarge => RequestError::LeaseTtlTooLarge,
            Error::DuplicateKey => RequestError::DuplicateKey,
            Error::TooManyOps => RequestError::TooManyOps,
            Error::ValueProvided => RequestError::ValueProvided,
            Error::LeaseProvided => RequestError::LeaseProvided,
            Error::InvalidSort => RequestError::InvalidSortOption,
            // 2^63 writes: the store is as full as it can get.
            Error::RevisionsExhausted => RequestError::NoSpace,
        }
    }
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Status {
        Status::new(error.code(), error.text())
    }
}

#[cfg(test)]
mod tests;
