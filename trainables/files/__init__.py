"""Files on disks and in object storage: atomic writes, records with checksums, YAML."""
