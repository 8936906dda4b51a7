//! A runtime whose guests write to this process' stdout and stderr instead of into logs.

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use coracle_kubelet::Runtime;
use coracle_kubelet::images::Image;
use coracle_kubelet::runtime::{Container, ContainerSpec, LoadError, Module, Sink, StartError, Tell};

/// Another runtime, with its guests' output led here.
pub struct OnConsole<R>(pub R);

struct ModuleOnConsole(Arc<dyn Module>);

enum Console {
    Stdout,
    Stderr,
}

#[async_trait]
impl<R: Runtime> Runtime for OnConsole<R> {
    fn version(&self) -> String {
        self.0.version()
    }

    fn scheme(&self) -> &'static str {
        self.0.scheme()
    }

    fn labels(&self) -> Vec<(String, String)> {
        self.0.labels()
    }

    fn takes_any_image(&self) -> bool {
        self.0.takes_any_image()
    }

    async fn load(&self, image: &Image, tell: Tell) -> Result<Arc<dyn Module>, LoadError> {
        Ok(Arc::new(ModuleOnConsole(self.0.load(image, tell).await?)))
    }
}

#[async_trait]
impl Module for ModuleOnConsole {
    fn opens_files(&self) -> bool {
        self.0.opens_files()
    }

    async fn start(&self, mut spec: ContainerSpec) -> Result<Arc<dyn Container>, StartError> {
        spec.stdout = Arc::new(Console::Stdout);
        spec.stderr = Arc::new(Console::Stderr);
        self.0.start(spec).await
    }

    fn is_program(&self) -> bool {
        self.0.is_program()
    }
}

impl Sink for Console {
    fn write(&self, bytes: &[u8]) {
        let write = |out: &mut dyn Write| out.write_all(bytes).and_then(|()| out.flush());
        // A guest cannot be told that its reader has gone.
        let _ = match self {
            Self::Stdout => write(&mut std::io::stdout().lock()),
            Self::Stderr => write(&mut std::io::stderr().lock()),
        };
    }
}
