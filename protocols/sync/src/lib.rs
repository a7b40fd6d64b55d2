//! Comparing and moving whole partitions between peers
