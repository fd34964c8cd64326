//! Files of a container with a read-only root: written to the host, since such a root refuses
//! uploads, and bound read-only.

use std::io;
use std::path::Path;

use crate::engine::{EngineError, ErrorKind};
use crate::resource::container::ContainerCreate;

/// Writes what `file_binds` names. A path carries the hash of its content, so what is there is right.
pub async fn write(create: &ContainerCreate) -> Result<(), EngineError> {
    for file in &create.service.spec.container.files {
        let Some(path) = create.file_binds.get(&file.target) else { continue };
        let content = create.service.file_content(&file.target);
        write_one(Path::new(path), content, file.mode, (file.uid, file.gid)).await.map_err(|e| {
            let kind = if e.kind() == io::ErrorKind::StorageFull { ErrorKind::DiskFull } else { ErrorKind::Other };
            EngineError::new("write file", path.clone(), kind, e.to_string())
        })?;
    }
    Ok(())
}

async fn write_one(path: &Path, content: &[u8], mode: u32, (uid, gid): (u32, u32)) -> io::Result<()> {
    use std::os::unix::fs::{PermissionsExt, chown};
    if tokio::fs::try_exists(path).await? {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    // Complete under another name first: a container must never see half a file.
    let partial = path.with_extension("partial");
    tokio::fs::write(&partial, content).await?;
    tokio::fs::set_permissions(&partial, std::fs::Permissions::from_mode(mode)).await?;
    if (uid, gid) != (0, 0) {
        chown(&partial, Some(uid), Some(gid))?;
    }
    tokio::fs::rename(&partial, path).await
}
