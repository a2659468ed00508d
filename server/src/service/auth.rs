//! The Auth service. Authentication is off and cannot be turned on yet: the status says so, the rest is refused.

use std::sync::Arc;

use evenkeel_proto::etcdserverpb as pb;
use evenkeel_proto::etcdserverpb::auth_server::Auth;
use tonic::{Request, Response, Status};

use super::rpc::{self, Method};
use crate::error::RequestError;
use crate::member::Member;

const SERVICE: &str = "etcdserverpb.Auth";

const UNSUPPORTED: RequestError = RequestError::Unsupported("evenkeel: authentication is not supported yet");

/// The revision of users and roles in a store that never had any.
const FIRST_AUTH_REVISION: u64 = 1;

/// `etcdserverpb.Auth`.
#[derive(Clone)]
pub struct AuthService {
    member: Arc<Member>,
}

impl AuthService {
    /// The service of `member`.
    pub fn new(member: Arc<Member>) -> AuthService {
        AuthService { member }
    }

    async fn status(&self) -> Result<pb::AuthStatusResponse, Status> {
        self.member.read_barrier().await?;
        let header = Some(self.member.header(self.member.view().revision().0));
        Ok(pb::AuthStatusResponse { header, enabled: false, auth_revision: FIRST_AUTH_REVISION })
    }
}

macro_rules! auth {
    ($($function:ident $name:literal $request:ident -> $response:ident;)*) => {
        #[tonic::async_trait]
        impl Auth for AuthService {
            async fn auth_status(
                &self,
                request: Request<pb::AuthStatusRequest>,
            ) -> Result<Response<pb::AuthStatusResponse>, Status> {
                rpc::unary(&self.member, Method::unary(SERVICE, "AuthStatus"), request, |_| self.status()).await
            }

            $(async fn $function(
                &self,
                request: Request<pb::$request>,
            ) -> Result<Response<pb::$response>, Status> {
                let method = Method::unary(SERVICE, $name);
                rpc::unary(&self.member, method, request, |_| async { Err(UNSUPPORTED.into()) }).await
            })*
        }
    };
}

auth! {
    auth_enable "AuthEnable" AuthEnableRequest -> AuthEnableResponse;
    auth_disable "AuthDisable" AuthDisableRequest -> AuthDisableResponse;
    authenticate "Authenticate" AuthenticateRequest -> AuthenticateResponse;
    user_add "UserAdd" AuthUserAddRequest -> AuthUserAddResponse;
    user_get "UserGet" AuthUserGetRequest -> AuthUserGetResponse;
    user_list "UserList" AuthUserListRequest -> AuthUserListResponse;
    user_delete "UserDelete" AuthUserDeleteRequest -> AuthUserDeleteResponse;
    user_change_password "UserChangePassword" AuthUserChangePasswordRequest -> AuthUserChangePasswordResponse;
    user_grant_role "UserGrantRole" AuthUserGrantRoleRequest -> AuthUserGrantRoleResponse;
    user_revoke_role "UserRevokeRole" AuthUserRevokeRoleRequest -> AuthUserRevokeRoleResponse;
    role_add "RoleAdd" AuthRoleAddRequest -> AuthRoleAddResponse;
    role_get "RoleGet" AuthRoleGetRequest -> AuthRoleGetResponse;
    role_list "RoleList" AuthRoleListRequest -> AuthRoleListResponse;
    role_delete "RoleDelete" AuthRoleDeleteRequest -> AuthRoleDeleteResponse;
    role_grant_permission "RoleGrantPermission" AuthRoleGrantPermissionRequest -> AuthRoleGrantPermissionResponse;
    role_revoke_permission "RoleRevokePermission" AuthRoleRevokePermissionRequest -> AuthRoleRevokePermissionResponse;
}
