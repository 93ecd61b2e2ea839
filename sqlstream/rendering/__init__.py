"""DuckDB SQL of typed expressions and of relations: both modes run what is rendered here."""
