//! What containers see of volumes: directories in their file system, or devices.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{SecurityContext, Volume, VolumeDevice, VolumeMount};

use crate::field::{Errors, Path};
use crate::validation::rules::{no_backsteps, one_of, relative_path, required, text};

/// The mounts and devices of one container.
pub(super) struct Seen<'c> {
    pub mounts: &'c [VolumeMount],
    pub devices: &'c [VolumeDevice],
    pub volumes: &'c [&'c Volume],
    pub context: Option<&'c SecurityContext>,
}

impl Seen<'_> {
    pub(super) fn check(&self, path: &Path<'_>, errors: &mut Errors) {
        self.mounts(&path.child("volumeMounts"), errors);
        self.devices(&path.child("volumeDevices"), errors);
    }

    fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().copied().find(|volume| volume.name == name)
    }

    fn mounts(&self, list: &Path<'_>, errors: &mut Errors) {
        let mut paths = HashSet::new();
        for (i, mount) in self.mounts.iter().enumerate() {
            let path = list.index(i);
            let (name, at) = (path.child("name"), path.child("mountPath"));
            required(&mount.name, &name, errors);
            if self.volume(&mount.name).is_none() {
                errors.not_found(&name, &mount.name);
            }
            required(&mount.mount_path, &at, errors);
            if !paths.insert(&mount.mount_path) {
                errors.invalid(&at, &mount.mount_path, "must be unique");
            }
            if self.devices.iter().any(|device| device.name == mount.name) {
                errors.invalid(&name, &mount.name, "must not already exist in volumeDevices");
            }
            if self.devices.iter().any(|device| device.device_path == mount.mount_path) {
                errors.invalid(&at, &mount.mount_path, "must not already exist as a path in volumeDevices");
            }
            // Of these Kubernetes does not tell which mount it is.
            sub_path(mount, (list, &path), errors);
            self.propagation(mount, &list.child("mountPropagation"), errors);
            recursive_read_only(mount, &list.child("recursiveReadOnly"), errors);
        }
    }

    /// What a container mounts is seen by the host only if the container may do everything.
    fn propagation(&self, mount: &VolumeMount, path: &Path<'_>, errors: &mut Errors) {
        let Some(mode) = &mount.mount_propagation else { return };
        one_of(mode, &["Bidirectional", "HostToContainer", "None"], path, errors);
        if mode == "Bidirectional" && self.context.and_then(|context| context.privileged) != Some(true) {
            errors.forbidden(path, "Bidirectional mount propagation is available only to privileged containers");
        }
    }

    fn devices(&self, list: &Path<'_>, errors: &mut Errors) {
        let (mut names, mut paths) = (HashSet::new(), HashSet::new());
        for (i, device) in self.devices.iter().enumerate() {
            let path = list.index(i);
            let (name, at) = (path.child("name"), path.child("devicePath"));
            required(&device.name, &name, errors);
            if !device.name.is_empty() && !names.insert(&device.name) {
                errors.invalid(&name, &device.name, "must be unique");
            }
            match self.volume(&device.name) {
                Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                    let rule = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                    errors.invalid(&name, &device.name, rule);
                }
                Some(_) => {}
                None => errors.not_found(&name, &device.name),
            }
            required(&device.device_path, &at, errors);
            if !paths.insert(&device.device_path) {
                errors.invalid(&at, &device.device_path, "must be unique");
            }
            no_backsteps(&device.device_path, &at, errors);
            if self.mounts.iter().any(|mount| mount.name == device.name) {
                errors.invalid(&name, &device.name, "must not already exist in volumeMounts");
            }
            if self.mounts.iter().any(|mount| mount.mount_path == device.device_path) {
                errors.invalid(&at, &device.device_path, "must not already exist as a path in volumeMounts");
            }
        }
    }
}

fn sub_path(mount: &VolumeMount, (list, path): (&Path<'_>, &Path<'_>), errors: &mut Errors) {
    let (sub, expression) = (text(mount.sub_path.as_ref()), text(mount.sub_path_expr.as_ref()));
    relative_path(sub, &list.child("subPath"), errors);
    if !sub.is_empty() && !expression.is_empty() {
        errors.invalid(&path.child("subPathExpr"), expression, "subPathExpr and subPath are mutually exclusive");
    }
    relative_path(expression, &list.child("subPathExpr"), errors);
}

fn recursive_read_only(mount: &VolumeMount, path: &Path<'_>, errors: &mut Errors) {
    let Some(mode) = &mount.recursive_read_only else { return };
    one_of(mode, &["Disabled", "Enabled", "IfPossible"], path, errors);
    if !matches!(mode.as_str(), "Enabled" | "IfPossible") {
        return;
    }
    if mount.read_only != Some(true) {
        errors.forbidden(path, "may only be specified when readOnly is true");
    }
    if mount.mount_propagation.as_ref().is_some_and(|propagation| propagation != "None") {
        errors.forbidden(path, "may only be specified when mountPropagation is None or not specified");
    }
}
