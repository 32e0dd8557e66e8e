//! The Grafana dashboard's panels, with Grafana's variables filled in.

use serde_json::Value;

use crate::paths;

/// One panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// The unit of its values, as Grafana names it.
    pub unit: String,
    /// Whether its series stand one on the other.
    pub stacked: bool,
    /// What it shows.
    pub targets: Vec<Target>,
}

/// One expression of a panel.
#[derive(Clone, Debug)]
pub struct Target {
    /// PromQL.
    pub expression: String,
    /// What its series are called, such as `{{plugin}}`.
    pub legend: String,
}

impl Panel {
    /// All panels of `observability/dashboard.json`, rates taken over `interval`.
    ///
    /// # Panics
    /// When the file is not a dashboard.
    pub fn all(interval: &str) -> Vec<Self> {
        let text =
            std::fs::read_to_string(paths::root().join("observability/dashboard.json")).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        panels.iter().map(|panel| Self::read(panel, interval)).collect()
    }

    fn read(panel: &Value, interval: &str) -> Self {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let target = |target: &Value| Target {
            expression: text(&target["expr"])
                .replace("$__rate_interval", interval)
                .replace("$plugin", ".*"),
            legend: text(&target["legendFormat"]),
        };
        let defaults = &panel["fieldConfig"]["defaults"];
        Self {
            title: text(&panel["title"]),
            unit: text(&defaults["unit"]),
            stacked: defaults["custom"]["stacking"]["mode"] == "normal",
            targets: panel["targets"].as_array().unwrap().iter().map(target).collect(),
        }
    }
}

impl Target {
    /// What a series with these labels is called.
    pub fn name(&self, labels: &Value) -> String {
        let mut name = self.legend.clone();
        for (label, value) in labels.as_object().into_iter().flatten() {
            name = name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default());
        }
        name
    }
}
