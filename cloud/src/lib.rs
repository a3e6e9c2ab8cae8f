//! The cloud process: its catalog of modules and their adapters
