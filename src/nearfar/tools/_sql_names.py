"""Which words may stand before an opening bracket in a query, and which tables are not for models."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# No function, though a bracket follows.
KEYWORDS = _words("""
    select from where in and or not on using as over filter exists any all some values union except
    intersect when then else case by limit offset having join lateral distinct between like ilike
    glob is with within group rollup cube sets materialized returning set escape similar to row rows
    array window partition order recursive cross left right inner outer full natural only fetch
    first next end indexed collate regexp match tablesample bernoulli system repeatable unnest interval
    at asc desc
    """)

TYPES = _words("""
    bigint bit bool boolean bytea char character date decimal double float int int2 int4 int8 integer
    json jsonb nchar numeric nvarchar real smallint text time timestamp timestamptz timetz tinyint uuid
    varbit varchar varying precision datetime blob nvarchar2 varchar2 number
    """)

COMMON = _words("""
    abs acos asin atan atan2 avg cast ceil ceiling char_length character_length coalesce concat
    concat_ws cos count cume_dist current_date current_time current_timestamp degrees dense_rank exp
    extract first_value floor greatest grouping ifnull iif instr lag last_value lead least
    length ln localtime localtimestamp log log10 log2 lower ltrim max min mod nth_value ntile nullif
    octet_length percent_rank pi position pow power radians random rank replace reverse round
    row_number rtrim sign sin sqrt substr substring sum tan trim trunc truncate upper nvl left right
    """)

SQLITE = _words("""
    acosh asinh atanh changes cosh sinh tanh date datetime format glob group_concat hex unhex
    json json_array json_array_length json_each json_extract json_group_array json_group_object
    json_object json_patch json_quote json_remove json_replace json_set json_tree json_type
    json_valid json_insert julianday last_insert_rowid like likelihood likely unlikely printf quote
    soundex sqlite_version strftime string_agg time timediff total total_changes typeof unicode
    unixepoch median percentile percentile_cont percentile_disc octet_length concat concat_ws
    bm25 highlight snippet char if sign regexp match generate_series subtype json_error_position
    jsonb jsonb_extract jsonb_array jsonb_object jsonb_group_array jsonb_group_object jsonb_each jsonb_tree
    """)

POSTGRES = _words("""
    age array_agg array_append array_cat array_dims array_length array_lower array_ndims
    array_position array_positions array_prepend array_remove array_replace array_to_json
    array_to_string array_upper ascii bit_and bit_count bit_length bit_or bool_and bool_or btrim
    cardinality cbrt chr clock_timestamp col_description corr cosd cot covar_pop covar_samp
    current_database current_schema current_schemas current_user date_bin date_part date_trunc decode div encode every
    factorial format format_type gcd gen_random_uuid generate_series generate_subscripts initcap isfinite
    json_agg json_array_elements json_array_elements_text json_array_length json_build_array
    json_build_object json_each json_each_text json_extract_path json_extract_path_text json_object
    json_object_agg json_object_keys json_strip_nulls json_to_record json_to_recordset json_typeof
    jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
    jsonb_build_object jsonb_each jsonb_each_text jsonb_exists jsonb_extract_path
    jsonb_extract_path_text jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists
    jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_insert
    jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_typeof justify_days justify_hours
    justify_interval lcm lower_inc lower_inf make_date make_interval make_time make_timestamp
    make_timestamptz md5 min_scale mode normalize now num_nonnulls num_nulls obj_description overlaps overlay
    percentile_cont percentile_disc phraseto_tsquery plainto_tsquery pg_get_constraintdef pg_get_indexdef
    pg_get_viewdef pg_typeof pg_column_size quote_ident quote_literal quote_nullable range_agg range_merge
    regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope row_to_json scale session_user sha224 sha256 sha384 sha512 similarity
    split_part starts_with statement_timestamp stddev stddev_pop stddev_samp string_agg
    string_to_array string_to_table strpos timeofday timezone to_ascii to_char to_date to_hex
    to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector transaction_timestamp translate
    trim_array trim_scale ts_headline ts_rank ts_rank_cd unnest upper_inc upper_inf var_pop var_samp
    variance version websearch_to_tsquery width_bucket int4range int8range numrange daterange tsrange
    tstzrange isempty lower upper date_add date_subtract jsonb_path_match any_value host network masklen
    abbrev acosd array_sample array_shuffle array_sort asind atand bit_xor broadcast convert_from convert_to
    cosh dmetaphone enum_first enum_last enum_range erf family hostmask json_array json_arrayagg
    json_exists json_objectagg json_populate_record json_populate_recordset json_query json_scalar
    json_serialize json_value jsonb_object_agg_unique jsonb_populate_record jsonb_populate_recordset
    levenshtein metaphone multirange netmask parse_ident pg_database_size pg_indexes_size
    pg_relation_size pg_size_pretty pg_table_size pg_total_relation_size random_normal
    range_intersect_agg setweight sind sinh soundex strict_word_similarity strip tand tanh
    to_bin to_oct to_regclass to_regtype ts_lexize tsvector_to_array unaccent unistr upper_inf
    word_similarity regr_sxx regr_syy regr_sxy
    """)

# Large texts from short queries.
BOMBS = _words("repeat lpad rpad zeroblob randomblob space")
MAX_FILL = 10_000
FORMATS = _words("format printf")

# Tables of the database itself that are of use to someone who asks about its content.
POSTGRES_CATALOG = _words("""
    pg_attribute pg_attrdef pg_class pg_constraint pg_description pg_enum pg_index pg_indexes
    pg_matviews pg_namespace pg_tables pg_type pg_views pg_stat_user_tables pg_sequences
    """)
SQLITE_INTERNAL = _words(
    "dbstat sqlite_dbpage sqlite_stmt bytecode tables_used sqlite_memstat completion fsdir"
)

FUNCTIONS = {"sqlite": COMMON | SQLITE, "postgres": COMMON | POSTGRES}
