//! Which forward proxy leads to the API server: the kubeconfig's own, else the environment's by the rules of kubectl.
//!
//! kube reads the same variables, but holds `NO_PROXY` against the proxy's own address instead of the server's. The
//! rules here are those of Go's `http.ProxyFromEnvironment`, which kubectl uses: `HTTPS_PROXY` or `HTTP_PROXY` by the
//! server's scheme, in either case of letters; loopback is never asked of a proxy; `NO_PROXY` lists addresses, networks,
//! host names with all below them (`.name`: only those below), each with a port or without, or is `*`.

use std::{env, net::IpAddr};

use http::Uri;

use super::client::ConnectError;

/// The proxy to use, if any: `own` is the kubeconfig's, which counts whatever the environment says.
pub(super) fn choose(own: Option<&str>, server: &Uri) -> Result<Option<Uri>, ConnectError> {
    if let Some(own) = own {
        return url(own).map(Some);
    }
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let of_environment = |name: &str| set(name).or_else(|| set(&name.to_lowercase()));
    let name = if server.scheme_str() == Some("http") { "HTTP_PROXY" } else { "HTTPS_PROXY" };
    match of_environment(name) {
        Some(proxy) if !is_excepted(server, &of_environment("NO_PROXY").unwrap_or_default()) => url(&proxy).map(Some),
        _ => Ok(None),
    }
}

/// A proxy's URL; one without a scheme is one of plain HTTP.
fn url(written: &str) -> Result<Uri, ConnectError> {
    // SOCKS is not built in; kube would say so with the whole URL, password and all.
    let is_http = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    let whole = |text: &str| text.parse::<Uri>().ok().filter(is_http);
    let bare = || Some(written).filter(|written| !written.contains("://"));
    let found = whole(written).or_else(|| whole(&format!("http://{}", bare()?)));
    found.ok_or_else(|| ConnectError::Proxy { url: super::client::without_secrets(written) })
}

/// Whether the server is reached without a proxy.
fn is_excepted(server: &Uri, no_proxy: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']).to_lowercase();
    let default_port = if server.scheme_str() == Some("http") { 80 } else { 443 };
    let port = server.port_u16().unwrap_or(default_port);
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        match address {
            Some(address) => excepts_address(entry, address, port),
            None => excepts_name(&entry.to_lowercase(), &host, port),
        }
    })
}

fn excepts_address(entry: &str, address: IpAddr, port: u16) -> bool {
    if let Some((network, bits)) = entry.split_once('/') {
        let (Ok(network), Ok(bits)) = (network.parse(), bits.parse()) else { return false };
        return is_within(address, network, bits);
    }
    let (host, of_port) = split_port(entry);
    host.trim_matches(['[', ']']).parse() == Ok(address) && of_port.is_none_or(|of_port| of_port == port)
}

fn excepts_name(entry: &str, host: &str, port: u16) -> bool {
    let (name, of_port) = split_port(entry);
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    let (below, itself) = match name.strip_prefix('.') {
        Some(rest) => (rest, false),
        None => (name, true),
    };
    let is_below = host.strip_suffix(below).is_some_and(|rest| rest.ends_with('.'));
    (is_below || (itself && host == below)) && of_port.is_none_or(|of_port| of_port == port)
}

/// `host:port`, `host`, an IPv6 address, or one in brackets with a port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    let of_port = |(host, port): (&str, &str)| {
        let is_bare_ipv6 = host.contains(':') && !host.ends_with(']');
        port.parse().ok().filter(|_| !is_bare_ipv6)
    };
    match entry.rsplit_once(':') {
        Some(parts) => of_port(parts).map_or((entry, None), |port| (parts.0, Some(port))),
        None => (entry, None),
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            same_prefix(address.to_bits().into(), network.to_bits().into(), bits, 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => same_prefix(address.to_bits(), network.to_bits(), bits, 128),
        _ => false,
    }
}

/// Whether two addresses of `width` bits agree in the first `bits`.
fn same_prefix(one: u128, other: u128, bits: u32, width: u32) -> bool {
    bits <= width && (one ^ other).checked_shr(width - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excepted(server: &str, no_proxy: &str) -> bool {
        is_excepted(&server.parse().expect("a URL"), no_proxy)
    }

    #[test]
    fn loopback_is_never_asked_of_a_proxy() {
        for server in ["https://localhost:6443", "https://127.0.0.1", "https://127.8.8.8:1", "https://[::1]:6443"] {
            assert!(excepted(server, ""), "{server}");
        }
        assert!(!excepted("https://10.0.0.1:6443", ""));
    }

    #[test]
    fn addresses_and_networks_are_excepted() {
        let v4 = "https://10.1.2.3:6443";
        for list in
            ["10.1.2.3", "10.0.0.0/8", "x, 10.1.2.3 ,y", "10.1.2.3:6443", "*", "10.1.2.3/32", "0.0.0.0/0", ",*,"]
        {
            assert!(excepted(v4, list), "{list}");
        }
        for list in
            ["10.1.2.4", "10.0.0.0/16", "10.1.2.3:443", "10.1.2", "*.example.org", "10.0.0.0/33", "::/0", "/", ":"]
        {
            assert!(!excepted(v4, list), "{list}");
        }
        let v6 = "https://[fd00::1]:6443";
        for list in ["fd00::1", "fd00::/8", "[fd00::1]:6443", "::/0"] {
            assert!(excepted(v6, list), "{list}");
        }
        for list in ["fd00::2", "fe00::/8", "[fd00::1]:443", "0.0.0.0/0"] {
            assert!(!excepted(v6, list), "{list}");
        }
    }

    #[test]
    fn names_are_excepted_with_all_below_them() {
        let server = "https://api.eu.Example.org";
        for list in ["example.org", ".example.org", "*.example.org", "api.eu.example.org", "EU.example.org:443", "*"] {
            assert!(excepted(server, list), "{list}");
        }
        for list in ["", "ample.org", ".api.eu.example.org", "example.org:6443", "example.com", "*.api.eu.example.org"]
        {
            assert!(!excepted(server, list), "{list}");
        }
    }

    #[test]
    fn a_proxy_without_a_scheme_is_one_of_plain_http() {
        let read = |text: &str| url(text).ok().map(|url| url.to_string());
        assert_eq!(read("proxy.example:3128").as_deref(), Some("http://proxy.example:3128/"));
        assert_eq!(read("https://proxy.example").as_deref(), Some("https://proxy.example/"));
        assert_eq!(read("10.0.0.1:3128").as_deref(), Some("http://10.0.0.1:3128/"));
        assert_eq!(read("a b"), None);
        assert_eq!(read("socks5://me:secret@proxy.example:1080"), None);
        assert_eq!(read(""), None);
    }
}
