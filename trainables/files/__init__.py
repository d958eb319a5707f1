"""Files on disks and in object storage: atomic writes, YAML."""
