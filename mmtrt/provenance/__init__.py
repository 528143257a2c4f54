"""What made an engine, told in the forms that other tools read: SLSA provenance, CycloneDX BOM."""
