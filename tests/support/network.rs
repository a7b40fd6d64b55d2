//! Hosts on one machine: namespaces of the network, joined by a switch that can be cut in two.
//!
//! A cut is silent, as between two real networks: no packet comes back to say so.

use std::process::Command;

use super::launch::Launcher;

/// Hosts, and the namespace of their switch. They are removed when this is dropped.
pub(crate) struct Network {
    prefix: String,
    hosts: usize,
}

impl Network {
    /// So many hosts that all reach each other; why there can be none on this machine otherwise.
    pub(crate) fn new(hosts: usize) -> Result<Self, String> {
        let network = Self { prefix: format!("henge-{}", std::process::id()), hosts };
        network.build()?;
        Ok(network)
    }

    fn build(&self) -> Result<(), String> {
        let switch = self.switch();
        ip(&["netns", "add", &switch])?;
        for side in [0, 1] {
            let bridge = &bridge(side);
            ip(&["-n", &switch, "link", "add", bridge, "type", "bridge"])?;
            ip(&["-n", &switch, "link", "set", bridge, "up"])?;
        }
        for host in 0..self.hosts {
            let (name, port) = (self.name(host), port(host));
            ip(&["netns", "add", &name])?;
            ip(&[
                "-n", &switch, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name,
            ])?;
            ip(&["-n", &switch, "link", "set", &port, "master", &bridge(0), "up"])?;
            ip(&["-n", &name, "address", "add", &format!("{}/24", self.address(host)), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
        }
        Ok(())
    }

    /// The IPv4 address of a host.
    pub(crate) fn address(&self, host: usize) -> String {
        format!("10.77.0.{}", host + 1)
    }

    /// Runs a process on a host.
    pub(crate) fn launcher(&self, host: usize) -> Launcher {
        Launcher::in_network(&self.name(host))
    }

    /// Cuts these hosts off from the others; they still reach each other.
    pub(crate) fn cut_off(&self, hosts: &[usize]) {
        self.plug(hosts, 1);
    }

    /// All hosts reach each other again.
    pub(crate) fn heal(&self) {
        let all: Vec<usize> = (0..self.hosts).collect();
        self.plug(&all, 0);
    }

    fn plug(&self, hosts: &[usize], side: usize) {
        for host in hosts {
            ip(&["-n", &self.switch(), "link", "set", &port(*host), "master", &bridge(side)]).unwrap();
        }
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn name(&self, host: usize) -> String {
        format!("{}-{host}", self.prefix)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in 0..self.hosts {
            let _ = ip(&["netns", "del", &self.name(host)]);
        }
        let _ = ip(&["netns", "del", &self.switch()]);
    }
}

fn bridge(side: usize) -> String {
    format!("side{side}")
}

fn port(host: usize) -> String {
    format!("port{host}")
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
