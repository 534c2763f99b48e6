//! The HTTP side as a client sees it, in process: a router over a real app in a temporary folder.

mod alert_pages;
mod alerts;
mod api;
mod bounds;
mod channels;
mod container_pages;
mod containers;
mod devices;
mod doors;
mod fakes;
mod figures;
mod harness;
mod page;
mod people;
mod registries;
mod series;
mod storage;
mod streams;
mod targets;
mod unknown_updates;
mod update_pages;
