//! What an edge's process runs on and what outlives it: disk, containers, files, clock.

use std::sync::Arc;

use async_trait::async_trait;
use beehive::Clock as _;
use dmi::memory::MemoryMappers;
use edged::hollow::HollowProber;
use edged::memory_files::MemoryFiles;
use edged::ports::{EdgedPorts, FileError, NodeFacts, NodeInfo, NodeUsage};
use eventbus::memory::MemoryBroker;
use servicebus::memory::MemoryServices;

use crate::clock::SimClock;
use crate::disk::Disk;
use crate::runtime::SimRuntime;
use crate::world::World;

/// A machine at the edge.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) disk: Disk,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) runtime: SimRuntime,
    pub(crate) files: MemoryFiles,
    pub(crate) broker: MemoryBroker,
    pub(crate) services: MemoryServices,
    pub(crate) mappers: MemoryMappers,
    facts: Arc<Facts>,
}

impl Machine {
    pub(crate) fn new(name: &Arc<str>, world: &Arc<World>) -> Self {
        let clock = Arc::new(SimClock::new(world.start));
        let files = MemoryFiles::new();
        Self {
            disk: Disk::new(name, world),
            runtime: SimRuntime::new(name, world, &clock, files.clone()),
            clock,
            files,
            broker: MemoryBroker::new(),
            services: MemoryServices::new(),
            mappers: MemoryMappers::new(),
            facts: Arc::new(Facts(name.clone())),
        }
    }

    /// Returns what edged is given.
    pub(crate) fn edged_ports(&self) -> EdgedPorts {
        EdgedPorts {
            runtime: Arc::new(self.runtime.clone()),
            files: Arc::new(self.files.clone()),
            node: self.facts.clone(),
            prober: Arc::new(HollowProber),
        }
    }
}

/// A machine that is always the same but for its name.
#[derive(Debug)]
struct Facts(Arc<str>);

#[async_trait]
impl NodeInfo for Facts {
    async fn facts(&self) -> Result<NodeFacts, FileError> {
        Ok(NodeFacts {
            hostname: self.0.to_string(),
            addresses: vec![[192, 0, 2, 10].into()],
            cpu_millis: 4000,
            memory_bytes: 8 << 30,
            storage_bytes: 100 << 30,
            os_image: "a simulated machine".to_owned(),
            operating_system: "linux".to_owned(),
            kernel_version: "6.1.0".to_owned(),
            architecture: "amd64".to_owned(),
            ..NodeFacts::default()
        })
    }

    async fn usage(&self) -> Result<NodeUsage, FileError> {
        Ok(NodeUsage {
            memory_available_bytes: 4 << 30,
            storage_available_bytes: 90 << 30,
            storage_bytes: 100 << 30,
            inodes_available: 900_000,
            inodes: 1_000_000,
            pids_available: 30_000,
        })
    }
}

/// Tells the time to a runtime, which outlives the processes that ask it.
pub(crate) fn wall(clock: &Arc<SimClock>) -> edged::hollow::WallClock {
    let clock = clock.clone();
    Arc::new(move || clock.now())
}
