//! The shell of evenkeel: moves epochs between the world and the core.

pub mod act;
pub mod alerts;
pub mod cli;
pub mod cluster;
pub mod cold;
pub mod configuration;
pub mod demo;
pub mod embedded;
pub mod encode;
pub mod http;
pub mod kafka;
pub mod memory;
pub mod metrics;
pub mod pages;
pub mod picture;
pub mod pipeline;
pub mod policy;
pub mod ports;
pub mod replay;
pub mod report;
pub mod restore;
pub mod root_cause;
pub mod seal;
pub mod service;
pub mod ship;
pub mod shop;
