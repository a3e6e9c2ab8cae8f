//! The cloud end of the links of all nodes
