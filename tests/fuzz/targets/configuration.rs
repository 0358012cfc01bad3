//! A configuration: valid, or errors that can be shown, each on its own lines with its position.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resyncd::config::{Config, Overrides, Environment};

fuzz_target!(|text: &str| {
    match Config::load(Some(("f.toml", text)), &Overrides::default(), &Environment::default()) {
        Ok(config) => {
            let names = || config.upstreams.iter().map(|upstream| &upstream.name);
            assert!(config.routes.iter().all(|route| names().any(|name| *name == route.upstream)));
            assert!(config.upstreams.iter().all(|upstream| !upstream.url.is_empty()));
            assert!(config.retry.max_retries >= 1 && !config.retry.steps.is_empty());
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a word");
            for problem in problems {
                assert!(!problem.to_string().trim().is_empty());
            }
        }
    }
});
