//! The defaults of bindings: the API groups of what they name.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};

use super::{Defaults, set_text};

const GROUP: &str = "rbac.authorization.k8s.io";

impl Defaults for RoleBinding {
    fn set_defaults(&mut self) {
        groups(&mut self.role_ref, self.subjects.as_deref_mut());
    }
}

impl Defaults for ClusterRoleBinding {
    fn set_defaults(&mut self) {
        groups(&mut self.role_ref, self.subjects.as_deref_mut());
    }
}

fn groups(role: &mut RoleRef, subjects: Option<&mut [Subject]>) {
    set_text(&mut role.api_group, GROUP);
    for subject in subjects.into_iter().flatten().filter(|s| matches!(s.kind.as_str(), "User" | "Group")) {
        set_text(&mut subject.api_group, GROUP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults::tests::completed;

    #[test]
    fn users_and_roles_are_of_the_group() {
        let binding = completed::<RoleBinding>(
            r#"{"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"User","name":"u"},{"kind":"ServiceAccount","name":"s"}]}"#,
        );
        assert!(binding.contains(
            r#""roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"u"},{"kind":"ServiceAccount","name":"s"}]"#
        ), "{binding}");
    }
}
