//! A member's page of metrics: what its status does not tell.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No page is longer.
const PAGE_BYTES_MAX: u64 = 1 << 20;

/// What is read off a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The cluster version, once there is one.
    pub cluster_version: Option<String>,
    /// Leases that it found expired.
    pub leases_expired: u64,
    /// Syncs of its log.
    pub syncs: u64,
}

impl Page {
    /// Fetches the page of whoever serves HTTP on this port of loopback.
    pub async fn fetch(port: u16) -> io::Result<Page> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut text = Vec::new();
        stream.take(PAGE_BYTES_MAX).read_to_end(&mut text).await?;
        Ok(Page::read(&String::from_utf8_lossy(&text)))
    }

    fn read(text: &str) -> Page {
        let mut page = Page::default();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let number = || value.parse::<f64>().unwrap_or_default() as u64;
            match name {
                "etcd_debugging_server_lease_expired_total" => page.leases_expired = number(),
                "etcd_disk_wal_fsync_duration_seconds_count" => page.syncs = number(),
                _ => {
                    let version = name.strip_prefix("etcd_cluster_version{cluster_version=\"");
                    if let Some(version) = version.and_then(|rest| rest.strip_suffix("\"}"))
                        && number() == 1
                    {
                        page.cluster_version = Some(version.to_owned());
                    }
                }
            }
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_read_off_the_page() {
        let text = "HTTP/1.1 200 OK\r\n\r\n# HELP x y\netcd_cluster_version{cluster_version=\"3.6\"} 0\n\
                    etcd_cluster_version{cluster_version=\"3.7\"} 1\netcd_debugging_server_lease_expired_total 4\n\
                    etcd_disk_wal_fsync_duration_seconds_count 17\n";
        let page = Page { cluster_version: Some("3.7".into()), leases_expired: 4, syncs: 17 };
        assert_eq!(Page::read(text), page);
    }
}
