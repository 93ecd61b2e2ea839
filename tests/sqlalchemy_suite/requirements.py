"""What SQLAlchemy's suite may ask of sqlstream: what is off, and why; what is on beyond the suite's own defaults."""

from __future__ import annotations

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements

OFF = {
    "streams only grow: there are no UPDATE and DELETE": (
        "delete_from update_from update_where_target_in_subquery ctes_on_dml ctes_with_update_delete sane_rowcount "
        "sane_multi_rowcount on_update_cascade non_updating_cascade on_update_or_deferrable_fks"
    ),
    "there is no RETURNING, since a job's rows are read from its table": (
        "insert_returning insert_executemany_returning insertmanyvalues update_returning delete_returning "
        "sane_rowcount_w_returning"
    ),
    "tables have no generated keys, defaults or sequences, in Flink neither": (
        "autoincrement_insert autoincrement_without_sequence identity_columns identity_columns_standard sequences "
        "sequences_optional server_defaults expression_server_defaults empty_inserts empty_inserts_executemany "
        "implements_get_lastrowid dbapi_lastrowid emulated_lastrowid no_lastrowid_support "
        "emulated_lastrowid_even_with_sequences supports_lastrowid"
    ),
    "there are no constraints but primary keys, which are NOT ENFORCED, and no indexes": (
        "self_referential_foreign_keys foreign_key_constraint_reflection deferrable_fks "
        "unique_constraint_reflection unique_constraints_reflect_as_index check_constraint_reflection "
        "inline_check_constraint_reflection index_reflection temp_table_reflect_indexes duplicate_key_raises_integrity_error "
        "index_ddl_if_exists recursive_fk_cascade repeated_column_foreign_keys repeated_remote_col_foreign_keys "
        "named_constraints implicitly_named_constraints fk_constraint_option_reflection_ondelete_noaction "
        "fk_constraint_option_reflection_ondelete_restrict fk_constraint_option_reflection_onupdate_restrict "
        "foreign_key_constraint_name_reflection"
    ),
    "there are no transactions": "savepoints two_phase_transactions skip_autocommit_rollback graceful_disconnects",
    "there is one database as yet": (
        "schema_reflection schemas cross_schema_fk_reflection schema_create_delete default_schema_name_switch implicit_default_schema"
    ),
    "types that Flink has not": "time_timezone json_type nvarchar_types",
    "Flink has no such SQL": (
        "create_or_replace_view materialized_views materialized_views_reflect_pk fetch_ties fetch_percent fetch_expression "
        "sql_expression_limit_offset supports_distinct_on "
        "order_by_collation column_collation_reflection"
    ),
    "a frame ends with its row or follows Flink's rules": "window_range window_range_numeric window_range_non_numeric",
    "DROP VIEW of the suite's own text is one of permanent views": "temporary_views",
    "there is nothing but AUTOCOMMIT": "autocommit isolation_level dialect_level_isolation_level_param",
    "UUID is no type of Flink's: Uuid is CHAR(32)": "uuid_data_type",
    "what is in memory is one engine's": "independent_connections independent_readonly_connections",
    "comments are part of CREATE TABLE alone": "constraint_comment_reflection",
    "it is computed when it is read": "computed_columns_stored computed_columns_default_persisted",
    "the type of the column that is written to counts: a datetime is no DATE": "date_coerces_from_datetime",
}

ON = (
    "views view_reflection view_column_reflection temp_table_names temp_table_reflection temporary_tables "
    "has_temp_table comment_reflection comment_reflection_full_unicode temp_table_comment_reflection "
    "primary_key_constraint_reflection reflects_pk_names table_reflection reflect_table_options "
    "computed_columns computed_columns_virtual array_type tuple_in tuple_in_w_empty window_functions "
    "window_range_numeric intersect except_ ctes ctes_with_values standard_cursor_sql server_side_cursors datetime_literals "
    "datetime_interval datetime_timezone datetime_timezone_historic datetime_historic date_historic unicode_ddl "
    "datetime_implicit_bound date_implicit_bound time_implicit_bound timestamp_microseconds "
    "timestamp_microseconds_implicit_bound datetime_microseconds time_microseconds precision_numerics_general "
    "precision_numerics_retains_significant_digits precision_numerics_many_significant_digits "
    "cast_precision_numerics_many_significant_digits fetch_null_from_numeric numeric_received_as_decimal_untyped "
    "literal_float_coercion implicit_decimal_binds infinity_floats float_or_double_precision_behaves_generically "
    "precision_generic_float_type supports_is_distinct_from nullsordering order_by_label_with_expression "
    "order_by_col_from_union group_by_complex_expression offset fetch_first fetch_no_order_by "
    "parens_in_union_contained_select_w_limit_offset parens_in_union_contained_select_wo_limit_offset "
    "expressions_against_unbounded_text unbounded_varchar text_type empty_strings_varchar empty_strings_text "
    "nullable_booleans "
    "get_isolation_level_values symbol_names_w_double_quote "
    "unusual_column_name_characters percent_schema_names binary_literals binary_comparisons "
    "table_ddl_if_exists create_table_as create_temp_table_as insert_from_select multivalues_inserts standalone_binds "
    "duplicate_names_in_cursor_description like_escapes mod_operator_as_percent_sign unicode_data unicode_connections arraysize"
)


def _because(reason: str) -> exclusions.compound:
    return exclusions.skip_if(lambda config: True, reason)


class Requirements(SuiteRequirements):
    """The suite's, with ours."""

    def get_isolation_levels(self, config: object) -> dict[str, object]:
        return {"default": "AUTOCOMMIT", "supported": ["AUTOCOMMIT"]}


for reason, names in OFF.items():
    for name in names.split():
        setattr(Requirements, name, property(lambda self, reason=reason: _because(reason)))
for name in ON.split():
    setattr(Requirements, name, property(lambda self: exclusions.open()))
