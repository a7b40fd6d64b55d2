//! The alphabet of henge: positions, records, contexts, limits and frames
