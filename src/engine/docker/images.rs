//! Pulls, and what an image brings with it.

use std::collections::BTreeMap;

use bollard::auth::DockerCredentials;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;

use super::Docker;
use super::call::{Call, timed_out};
use super::credentials::CredentialError;
use crate::engine::{EngineError, ErrorKind, Result};
use crate::resource::image::{ImageId, ImageInfo, ImageRef, PullProgress};

impl Docker {
    /// Bounded by silence, not in total: a large image over a slow line may take an hour.
    pub(super) async fn pull_image(
        &self,
        image: &ImageRef,
        platform: Option<&str>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<()> {
        let subject = image.as_str();
        self.api(Call::Pull, subject).await?;
        let (credentials, without) = self.credentials(image).await;
        let (name, tag) = image.name_and_tag();
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
            platform: platform.unwrap_or_default().to_owned(),
            ..CreateImageOptions::default()
        };
        let mut lines = Box::pin(self.client.create_image(Some(options), None, credentials));
        let silence = self.deadlines.of(Call::Pull);
        let mut layers = Layers::default();
        loop {
            match tokio::time::timeout(silence, lines.next()).await {
                Err(_) => return Err(timed_out(Call::Pull, subject, silence)),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err(explained(self.translate(Call::Pull, subject, &error), without)),
                Ok(Some(Ok(line))) => {
                    if layers.note(&line) {
                        progress(layers.sum());
                    }
                }
            }
        }
        // An engine that goes away in the middle can end the stream as if all were well.
        match self.image(subject).await? {
            Some(_) => Ok(()),
            None => Err(EngineError::new(
                Call::Pull.operation(),
                subject,
                ErrorKind::Other,
                "the engine ended the pull without an image",
            )),
        }
    }

    /// The engine asks by HEAD for the digest, and then reads the manifest of that digest for its platforms.
    pub(super) async fn ask_registry(&self, image: &ImageRef) -> Result<String> {
        let subject = image.as_str();
        let (name, tag) = image.name_and_tag();
        let separator = if tag.contains(':') { '@' } else { ':' };
        let (credentials, without) = self.credentials(image).await;
        let tagged = format!("{name}{separator}{tag}");
        let asked = self.client.inspect_registry_image(&tagged, credentials);
        let answer = self.call(Call::AskRegistry, subject, asked).await.map_err(|error| explained(error, without))?;
        answer.descriptor.digest.filter(|digest| !digest.is_empty()).ok_or_else(|| {
            let message = "the engine's answer has no digest";
            EngineError::new(Call::AskRegistry.operation(), subject, ErrorKind::Other, message)
        })
    }

    /// What cannot be looked up is no failure yet: a configuration that names a helper which is not
    /// installed is common, and most images need no password.
    async fn credentials(&self, image: &ImageRef) -> (Option<DockerCredentials>, Option<CredentialError>) {
        let Some(keychain) = &self.keychain else { return (None, None) };
        match keychain.lookup(image).await {
            Ok(found) => (found.map(|auth| auth.reveal()), None),
            Err(error) => (None, Some(error)),
        }
    }

    pub(super) async fn image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        match self.call(Call::InspectImage, reference, self.client.inspect_image(reference)).await {
            Ok(answer) => Ok(Some(info(answer))),
            Err(EngineError { kind: ErrorKind::ImageNotFound | ErrorKind::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Why a pull was anonymous matters once a registry has refused it.
fn explained(mut error: EngineError, without: Option<CredentialError>) -> EngineError {
    if let (ErrorKind::PullDenied, Some(why)) = (&error.kind, without) {
        error.message = format!("{}; it was asked without credentials: {why}", error.message.trim_end_matches('.'));
    }
    error
}

/// The progress of each layer by its id. Layers are downloaded three at a time, so that the total
/// grows while the pull goes on.
#[derive(Debug, Default)]
struct Layers(BTreeMap<String, PullProgress>);

impl Layers {
    /// Whether the sum may have changed.
    fn note(&mut self, line: &CreateImageInfo) -> bool {
        let (Some(id), Some(status)) = (&line.id, line.status.as_deref()) else { return false };
        match status {
            "Downloading" => {
                let detail = line.progress_detail.clone().unwrap_or_default();
                let bytes = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                let current = bytes(detail.current);
                let total = bytes(detail.total).max(current);
                self.0.insert(id.clone(), PullProgress { current, total });
                true
            }
            "Download complete" | "Pull complete" => {
                if let Some(layer) = self.0.get_mut(id) {
                    layer.current = layer.total;
                }
                true
            }
            _ => false,
        }
    }

    fn sum(&self) -> PullProgress {
        self.0.values().fold(PullProgress::default(), |sum, layer| PullProgress {
            current: sum.current.saturating_add(layer.current),
            total: sum.total.saturating_add(layer.total),
        })
    }
}

fn info(answer: ImageInspect) -> ImageInfo {
    let config = answer.config.unwrap_or_default();
    let digests = answer.repo_digests.unwrap_or_default();
    let test = config.healthcheck.and_then(|h| h.test).unwrap_or_default();
    ImageInfo {
        id: ImageId(answer.id.unwrap_or_default()),
        env: config
            .env
            .unwrap_or_default()
            .iter()
            .map(|line| line.split_once('=').unwrap_or((line, "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        working_dir: config.working_dir.unwrap_or_default(),
        user: config.user.unwrap_or_default(),
        stop_signal: config.stop_signal.unwrap_or_default(),
        exposed_ports: config.exposed_ports.unwrap_or_default().into_iter().collect(),
        volumes: config.volumes.unwrap_or_default().into_iter().collect(),
        // `name@sha256:…`
        digests: digests.iter().filter_map(|d| Some(d.split_once('@')?.1.to_owned())).collect(),
        has_healthcheck: test.first().is_some_and(|word| word != "NONE"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::ProgressDetail;

    fn line(id: &str, status: &str, bytes: Option<(i64, i64)>) -> CreateImageInfo {
        CreateImageInfo {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress_detail: bytes
                .map(|(current, total)| ProgressDetail { current: Some(current), total: Some(total) }),
            error_detail: None,
        }
    }

    #[test]
    fn progress_is_the_sum_over_layers_and_extraction_does_not_count() {
        let mut layers = Layers::default();
        assert!(!layers.note(&line("a", "Pulling fs layer", None)));
        assert!(layers.note(&line("a", "Downloading", Some((10, 100)))));
        assert!(layers.note(&line("b", "Downloading", Some((5, 50)))));
        assert_eq!(layers.sum(), PullProgress { current: 15, total: 150 });
        assert!(layers.note(&line("a", "Download complete", None)));
        assert!(!layers.note(&line("a", "Extracting", Some((1, 300)))));
        assert_eq!(layers.sum(), PullProgress { current: 105, total: 150 });
    }
}
