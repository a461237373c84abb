"""How a study's page shows what `analysis.findings` says: figures, tables, HTML."""
