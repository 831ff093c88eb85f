//! Reading the routes again while the program runs.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::route_table;
use crate::config::{self, Settings};
use crate::http::gateway::RouteTable;

/// Reads the configuration again and swaps the routes, all or nothing. Everything else stays as it was at the start: `running`.
pub(super) fn reloader(
    running: Arc<Settings>,
    routes: Arc<ArcSwap<RouteTable>>,
    config_file: Option<PathBuf>,
) -> impl Fn() -> Result<usize, String> + Send + Sync {
    move || {
        let settings = config::load(config_file.as_deref()).map_err(|error| error.to_string())?;
        check_meters(&running, &settings)?;
        let table = route_table(&settings, Some(&routes.load())).map_err(|error| format!("gateway.routes: {error}"))?;
        let n_routes = table.routes().len();
        routes.store(Arc::new(table));
        tracing::info!(n_routes, "the gateway's routes were read again");
        Ok(n_routes)
    }
}

/// Refuses routes that name a meter which only the new file has. The meter that runs does not know it, so what such a route counts
/// would be set aside as uncountable.
fn check_meters(running: &Settings, read: &Settings) -> Result<(), String> {
    let mut mistakes = Vec::new();
    for (index, route) in read.gateway.routes.iter().enumerate() {
        for (key, meter) in route.named_meters() {
            if !running.meters.contains_key(meter) {
                mistakes.push(format!(
                    "gateway.routes[{index}] ({}).{key}: found the meter {:?}, expected one that this process started with; restart it \
                     to take over [meters]",
                    route.prefix,
                    meter.as_str()
                ));
            }
        }
    }
    if mistakes.is_empty() { Ok(()) } else { Err(mistakes.join("\n")) }
}
