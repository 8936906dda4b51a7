//! A kubeconfig with everything in it: server, authority, certificate and key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Signed;
use crate::auth::Identity;

/// The name of cluster and context in every kubeconfig that is written here.
const CLUSTER: &str = "coracle";

/// The YAML of a kubeconfig in which `identity` is the only user.
pub(super) fn render(server_url: &str, authority_pem: &str, identity: &Identity, signed: &Signed) -> String {
    let user = &identity.user;
    let authority = STANDARD.encode(authority_pem);
    let certificate = STANDARD.encode(&signed.certificate_pem);
    let key = STANDARD.encode(&signed.key_pem);
    format!(
        "apiVersion: v1\n\
         kind: Config\n\
         current-context: {CLUSTER}\n\
         clusters:\n\
         - name: {CLUSTER}\n\
         \x20 cluster:\n\
         \x20   server: {server_url}\n\
         \x20   certificate-authority-data: {authority}\n\
         contexts:\n\
         - name: {CLUSTER}\n\
         \x20 context:\n\
         \x20   cluster: {CLUSTER}\n\
         \x20   user: \"{user}\"\n\
         users:\n\
         - name: \"{user}\"\n\
         \x20 user:\n\
         \x20   client-certificate-data: {certificate}\n\
         \x20   client-key-data: {key}\n"
    )
}
