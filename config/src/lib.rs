//! Configuration files of cloudcore and edgecore
