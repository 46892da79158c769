"""The schema on PostgreSQL: the same numbered migrations, and what SQLite gets from Python and from the system."""

from __future__ import annotations

from ..connection import Connection
from ..migrations import MIGRATIONS, Migration, check_version
from .dialect import translate_schema
from .link import Link

__all__ = ["migrate", "version_of"]

_MIGRATING = 0
"""Number of the lock under which the schema is changed: no engine has it."""

_EXISTS = "SELECT to_regclass('workflow_migrations') IS NOT NULL"
_VERSION = "SELECT coalesce(max(number), 0) FROM workflow_migrations"
_TABLE = """
    CREATE TABLE IF NOT EXISTS workflow_migrations
    (number INTEGER PRIMARY KEY NOT NULL, name TEXT NOT NULL, applied_at INTEGER NOT NULL)
"""
_NOTE = """
    INSERT INTO workflow_migrations (number, name, applied_at)
    VALUES (?, ?, CAST(strftime('%s', 'now') AS INTEGER) * 1000000)
"""
# What a lock and a socket beside a file are; see `by_lease`.
_PRESENCE = """
    CREATE TABLE IF NOT EXISTS workflow_presence (address bigint PRIMARY KEY, until timestamptz NOT NULL);
    CREATE TABLE IF NOT EXISTS workflow_notices (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        address bigint NOT NULL REFERENCES workflow_presence (address) ON DELETE CASCADE,
        body text NOT NULL
    );
    CREATE INDEX IF NOT EXISTS workflow_notices_address ON workflow_notices (address)
"""
# What `inputs.holds` does, part by part.
_INPUT_HOLDS = """
    CREATE OR REPLACE FUNCTION perdure_input_holds(input text, path text, wanted text) RETURNS boolean
    LANGUAGE plpgsql STABLE AS $body$
    DECLARE
        tree jsonb;
        part jsonb;
        tag text;
        body jsonb;
    BEGIN
        tree := input::jsonb;
        FOR part IN SELECT value FROM jsonb_array_elements(path::jsonb) LOOP
            IF jsonb_typeof(tree) = 'object' AND (SELECT count(*) FROM jsonb_object_keys(tree)) = 1 THEN
                SELECT key, value INTO tag, body FROM jsonb_each(tree);
                IF tag IN ('$object', '$deque') THEN
                    tree := body -> 1;
                ELSIF tag = '$tuple' THEN
                    tree := body;
                ELSIF tag IN ('$map', '$ordered') THEN
                    SELECT coalesce(jsonb_object_agg(pair ->> 0, pair -> 1), '{}'::jsonb) INTO tree
                    FROM jsonb_array_elements(body) AS pair WHERE jsonb_typeof(pair -> 0) = 'string';
                END IF;
            END IF;
            IF jsonb_typeof(part) = 'number' AND jsonb_typeof(tree) = 'array' THEN
                tree := tree -> (part #>> '{}')::int;
            ELSIF jsonb_typeof(part) = 'string' AND jsonb_typeof(tree) = 'object' THEN
                tree := tree -> (part #>> '{}');
            ELSE
                RETURN false;
            END IF;
            IF tree IS NULL THEN
                RETURN false;
            END IF;
        END LOOP;
        RETURN tree = wanted::jsonb;
    EXCEPTION WHEN data_exception THEN
        RETURN false;
    END
    $body$
"""


def version_of(connection: Connection) -> int:
    """Return the version of the schema in a database; 0 where there is none of ours."""
    if not connection.execute(_EXISTS).fetchone()[0]:
        return 0
    return int(connection.execute(_VERSION).fetchone()[0])


def migrate(link: Link, name: str, keyspace: int) -> None:
    """Bring a database to the newest schema, in one transaction, for which others that want to do the same wait.

    Raises:
        SchemaTooNew: The database was written by a newer release; nothing was touched.
    """
    if not _pending(link, name):
        return
    link.execute("BEGIN")
    try:
        # Of the transaction, not the session: so it can be had behind a pooler.
        link.execute("SELECT pg_advisory_xact_lock(?, ?)", (keyspace, _MIGRATING))
        _apply(link, _pending(link, name))
        link.execute("COMMIT")
    except BaseException:
        if not link.session.closed:
            link.session.rollback()
        raise


def _pending(link: Link, name: str) -> list[Migration]:
    version = version_of(link)
    check_version(version, name)
    return [migration for migration in MIGRATIONS if migration.number > version]


def _apply(link: Link, pending: list[Migration]) -> None:
    if not pending:
        return
    schema = Link(link.session, translate_schema)
    schema.execute(_TABLE)
    for migration in pending:
        migration.apply(schema)
        link.execute(_NOTE, (migration.number, migration.name))
    link.session.execute(_INPUT_HOLDS)
    link.session.execute(_PRESENCE)
