//! Lists of URLs, and who has which.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Refusal;

/// Reads a comma-separated list for `flag`. Sorted, as etcd keeps them.
pub(super) fn list(flag: &str, text: &str) -> Result<Vec<String>, Refusal> {
    let mut urls = Vec::new();
    for url in text.split(',').map(str::trim) {
        check(flag, url)?;
        urls.push(url.to_owned());
    }
    urls.sort_unstable();
    urls.dedup();
    Ok(urls)
}

fn check(flag: &str, url: &str) -> Result<(), Refusal> {
    let wrong = |why: &str| Err(Refusal::config(format!("--{flag}: {why} (in {url:?})")));
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong("a URL must look like http://HOST:PORT");
    };
    match scheme {
        "http" => {}
        "https" | "unixs" => return wrong("TLS is not supported yet; use http://, in a network you trust"),
        "unix" => return wrong("unix sockets are not supported yet; use http://"),
        _ => return wrong("URL scheme must be http, https, unix, or unixs"),
    }
    if rest.contains(['/', '?', '#']) {
        return wrong("URL must not contain a path; end it after the port");
    }
    let Some((host, port)) = rest.rsplit_once(':') else {
        return wrong("URL address does not have the form \"host:port\"; add the port");
    };
    if host.is_empty() {
        return wrong("the host is missing; use an address, or 0.0.0.0 to listen everywhere");
    }
    if port.parse::<u16>().is_err() {
        return wrong("the port must be a number from 0 to 65535");
    }
    Ok(())
}

/// Listening needs an address, not a name: a name may have several, or another tomorrow.
pub(super) fn can_be_bound(flag: &str, urls: &[String]) -> Result<(), Refusal> {
    for url in urls {
        let host = url.strip_prefix("http://").and_then(|rest| rest.rsplit_once(':')).map_or("", |(host, _)| host);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if host != "localhost" && bare.parse::<IpAddr>().is_err() {
            return Err(Refusal::config(format!(
                "--{flag}: expected IP in URL for binding ({url}); use the address instead of the name, or 0.0.0.0"
            )));
        }
    }
    Ok(())
}

/// Reads `name=URL,name=URL`. A name may stand several times.
pub(super) fn cluster(text: &str) -> Result<Vec<(String, Vec<String>)>, Refusal> {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, url) = part.split_once('=').unwrap_or((part, ""));
        if url.is_empty() {
            return Err(Refusal::config(format!(
                "--initial-cluster: empty URL given for {name:?}; write it as {name}=http://HOST:PORT"
            )));
        }
        check("initial-cluster", url)?;
        members.entry(name.to_owned()).or_default().push(url.to_owned());
    }
    for urls in members.values_mut() {
        urls.sort_unstable();
        urls.dedup();
    }
    Ok(members.into_iter().collect())
}
