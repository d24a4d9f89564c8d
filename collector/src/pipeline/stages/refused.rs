//! Stages that Promtail or Alloy have and Pilcrow has not, with the reason.

/// Why there is no stage of this name, if it is one of those.
pub fn why(name: &str) -> Option<&'static str> {
    Some(match name {
        "geoip" => {
            "is not supported: a database of addresses does not belong on a node; look addresses up in Grafana or where logs are read"
        }
        "luhn" => "is not supported: use replace with a regular expression for the numbers that must not be stored",
        "eventlogmessage" | "windowsevent" => {
            "is not supported: it is for Windows event logs, and Pilcrow runs on Linux"
        }
        "split_json" => "is not supported: one line stays one entry, so that its position in the file is known",
        "pipeline" => "is no stage; nested stages belong to match",
        _ => return None,
    })
}
