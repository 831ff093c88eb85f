//! Reading the settings: defaults, then the file, then the environment.

use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Toml};

use super::Settings;
use super::validate::validate;

/// The shipped file doubles as the table of defaults, so the two cannot differ.
const DEFAULTS: &str = include_str!("../../config.toml");

/// Prefix and separator of the environment's keys.
const ENV_PREFIX: &str = "BUSINESSOS__";

/// What is wrong with the configuration: one line for each mistake.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigError(pub Vec<String>);

/// Reads and checks the settings. `file` must exist if given; else `config.toml` of the working directory is read if it
/// is there.
///
/// # Errors
/// Every mistake as a line with file, key, what was found and what was expected.
pub fn load(file: Option<&Path>) -> Result<Settings, ConfigError> {
    if let Some(path) = file
        && !path.is_file()
    {
        return Err(ConfigError(vec![format!("{}: no such file", path.display())]));
    }
    let path = file.unwrap_or(Path::new("config.toml"));
    let mut figment = Figment::new().merge(Toml::string(DEFAULTS));
    if path.is_file() {
        figment = figment.merge(Toml::file_exact(path));
    }
    let settings: Settings = figment
        .merge(environment())
        .extract()
        .map_err(|errors| ConfigError(errors.into_iter().map(|error| describe(&error, path)).collect()))?;
    let mistakes = validate(&settings);
    if mistakes.is_empty() {
        Ok(settings)
    } else {
        let name = path.display();
        Err(ConfigError(mistakes.into_iter().map(|mistake| format!("{name} (or environment): {mistake}")).collect()))
    }
}

fn environment() -> Env {
    Env::prefixed(ENV_PREFIX).split("__")
}

fn describe(error: &figment::Error, path: &Path) -> String {
    let is_env = error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("environment"));
    let origin = if is_env { "environment".to_owned() } else { path.display().to_string() };
    let key = error.path.join(".");
    if key.is_empty() { format!("{origin}: {}", error.kind) } else { format!("{origin}: {key}: {}", error.kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Settings, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("the file is written");
        load(Some(file.path()))
    }

    #[test]
    fn the_shipped_file_is_valid() {
        let settings = load_text("").expect("the defaults are valid");
        assert_eq!(settings.server.listen.port(), 3000);
        let prefixes: Vec<_> = settings.gateway.routes.iter().map(|route| route.prefix.as_str()).collect();
        assert_eq!(prefixes, ["/crm", "/ai", "/workflows"]);
    }

    #[test]
    fn a_part_of_the_keys_is_enough() {
        let settings = load_text("[server]\nlisten = \"127.0.0.1:4100\"\n").expect("valid");
        assert_eq!(settings.server.listen.port(), 4100);
        assert_eq!(settings.server.keep_alive_ms, 65_000);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file() {
        let text = load_text("[server]\nlistne = \"x\"\n").expect_err("refused").to_string();
        assert!(text.contains("server") && text.contains("listne"), "{text}");
    }

    #[test]
    fn a_wrong_type_says_what_was_expected() {
        let text = load_text("[server]\nworkers = \"many\"\n").expect_err("refused").to_string();
        assert!(text.contains("server.workers") && text.contains("many"), "{text}");
    }

    #[test]
    fn sessions_in_redis_need_its_url() {
        let text = load_text("[sessions]\nstore = \"redis\"\n").expect_err("refused").to_string();
        assert!(text.contains("redis.url"), "{text}");
        load_text("[sessions]\nstore = \"redis\"\n[redis]\nurl = \"redis://127.0.0.1\"\n").expect("valid");
    }

    #[test]
    fn stripe_needs_both_secrets_and_shows_neither() {
        let text = load_text("[stripe]\nsecret_key = \"sk_test_hidden\"\n").expect_err("refused").to_string();
        assert!(text.contains("stripe.webhook_secret") && !text.contains("hidden"), "{text}");
        let both = "[stripe]\nsecret_key = \"sk_test_hidden\"\nwebhook_secret = \"whsec_hidden\"\n";
        let settings = load_text(both).expect("valid");
        assert!(!format!("{settings:?}").contains("hidden"));
        for wrong in ["api_base = \"api.stripe.com\"", "timeout_ms = 1", "webhook_secret_previous = \"x\""] {
            load_text(&format!("[stripe]\n{wrong}\n")).expect_err(wrong);
        }
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let text = load(Some(Path::new("/nonexistent/x.toml"))).expect_err("refused").to_string();
        assert!(text.contains("no such file"), "{text}");
    }
}
