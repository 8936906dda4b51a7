//! What an image says of how it is run: the entry point, the arguments and the environment of a container image. A plain
//! module says nothing.

use serde_json::{Map, Value};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Program {
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<(String, String)>,
}

impl Program {
    /// `argv`: what the container says stands for what the image says, and the container's name for a program without
    /// one. Source: `command` replaces the entry point and the arguments, `args` the arguments alone.
    pub fn arguments(&self, name: &str, command: Vec<String>, args: Vec<String>) -> Vec<String> {
        if !command.is_empty() {
            return command.into_iter().chain(args).collect();
        }
        let args = if args.is_empty() { self.cmd.clone() } else { args };
        match self.entrypoint.is_empty() {
            // Without an entry point, the first word of the arguments is the program.
            true if !self.cmd.is_empty() => args,
            true => std::iter::once(name.to_owned()).chain(args).collect(),
            false => self.entrypoint.iter().cloned().chain(args).collect(),
        }
    }

    /// The image's environment, under that of the container.
    pub fn environment(&self, of_container: Vec<(String, String)>) -> Vec<(String, String)> {
        let is_kept = |name: &str| of_container.iter().all(|(own, _)| own != name);
        let mut env: Vec<_> = self.env.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
        env.extend(of_container);
        env
    }

    /// The `config` of a container image's configuration.
    pub fn of_config(config: &Value) -> Self {
        let words = |field: &str| -> Vec<String> {
            config[field].as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
        };
        let pair = |variable: String| variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            entrypoint: words("Entrypoint"),
            cmd: words("Cmd"),
            env: words("Env").into_iter().filter_map(pair).collect(),
        }
    }

    /// As [`Program::of_config`] reads it again.
    pub fn to_config(&self) -> Value {
        let env: Vec<String> = self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let each = [("Entrypoint", &self.entrypoint), ("Cmd", &self.cmd), ("Env", &env)];
        let said = each.into_iter().filter(|(_, words)| !words.is_empty());
        Value::Object(said.map(|(field, words)| (field.to_owned(), words.clone().into())).collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_says_more_than_its_image() {
        let image = |config: Value| Program::of_config(&config);
        let both = image(json!({"Entrypoint": ["/app.wasm", "-v"], "Cmd": ["serve"]}));
        let cmd = image(json!({"Cmd": ["/app.wasm", "x"]}));
        type Words = &'static [&'static str];
        let table: [(&Program, Words, Words, Words); 8] = [
            (&both, &[], &[], &["/app.wasm", "-v", "serve"]),
            (&both, &[], &["once"], &["/app.wasm", "-v", "once"]),
            (&both, &["other"], &[], &["other"]),
            (&both, &["other"], &["once"], &["other", "once"]),
            (&cmd, &[], &[], &["/app.wasm", "x"]),
            (&cmd, &[], &["prog", "y"], &["prog", "y"]),
            (&Program::default(), &[], &["a"], &["main", "a"]),
            (&Program::default(), &["prog"], &["a"], &["prog", "a"]),
        ];
        for (image, command, args, want) in table {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            assert_eq!(image.arguments("main", owned(command), owned(args)), want, "{command:?} {args:?}");
        }
        let env = image(json!({"Env": ["PATH=/bin", "A=image"]}));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(env.environment(vec![pair("A", "pod")]), [pair("PATH", "/bin"), pair("A", "pod")]);
        assert_eq!(Program::of_config(&both.to_config()), both);
        assert_eq!(Program::of_config(&env.to_config()), env);
    }
}
