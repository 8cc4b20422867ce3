"""The policy packs that ship with safeload: one TOML file each."""
