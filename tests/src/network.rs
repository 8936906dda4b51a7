//! Addresses of its own for each cluster of a test run: many run on one machine at once, and all want port 8080.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use anyhow::Context;
use coracle_kubelet::Cidr;

/// The second bytes of `127.x.0.0` that are handed out; below them are those of a cluster that a person runs.
const BLOCKS: RangeInclusive<u8> = 128..=254;

/// Whoever listens on this port of a block's last address has the block.
const CLAIM_PORT: u16 = 40_404;

/// Node ports that a block has.
const NODE_PORTS: u16 = 20;

/// A block of loopback addresses, this test's own while it lives.
#[derive(Debug)]
pub struct Network {
    block: u8,
    _claim: TcpListener,
}

impl Network {
    /// Takes a free block.
    ///
    /// # Errors
    /// When all are taken.
    pub fn claim() -> anyhow::Result<Self> {
        let claim = |block: u8| {
            let listener = TcpListener::bind((Ipv4Addr::new(127, block, 255, 254), CLAIM_PORT)).ok()?;
            Some(Self { block, _claim: listener })
        };
        BLOCKS.into_iter().find_map(claim).context("no block of loopback addresses is free")
    }

    /// The pods of the node of this number, up to seven.
    pub fn pods(&self, node: usize) -> Cidr {
        let third = u8::try_from(node * 16).unwrap_or(u8::MAX);
        Cidr::new(Ipv4Addr::new(127, self.block, third, 0), 20)
    }

    /// The services.
    pub fn services(&self) -> String {
        format!("127.{}.128.0/18", self.block)
    }

    /// The node ports.
    pub fn node_ports(&self) -> RangeInclusive<u16> {
        let first = 30_000 + u16::from(self.block - BLOCKS.start()) * NODE_PORTS;
        first..=first + NODE_PORTS - 1
    }
}
