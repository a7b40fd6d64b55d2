//! A store in memory: the model of the contract.
