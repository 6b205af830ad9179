"""Organizations and who belongs to them. One without members is unclaimed: anonymous runs may write to its projects."""

from server_stub.actors import Role
from server_stub.names import NameId
from server_stub.store.fresh import free_slug, fresh_uuid
from server_stub.store.lists import Part, exactly, find_in, part
from server_stub.store.paging import Page, Where
from server_stub.store.tx import Row, Tx

# Since when it has members rides along: an organization is shown with it.
_SHOWN = "o.*, (SELECT MIN(m.created_ms) FROM organization_member m WHERE m.organization_id = o.id) AS claimed_ms"


def find(tx: Tx, named: NameId) -> Row | None:
    """An organization by UUID or slug, with `claimed_ms`."""
    return tx.one(f"SELECT {_SHOWN} FROM organization o WHERE o.{named.kind} = :value", value=named.value)


def page(tx: Tx, wanted: Page, *, user_id: int | None, name: str | None, search: str | None) -> Part:
    """Organizations by name: those that a user belongs to, or all."""
    where = Where()
    if user_id is not None:
        member = "SELECT 1 FROM organization_member x WHERE x.organization_id = o.id AND x.user_id = :user"
        where.add(f"EXISTS ({member})", user=user_id)
    exactly(where, "o.name", name)
    find_in(where, search, "o.name", "o.slug", "o.uuid")
    return part(tx, _SHOWN, "organization o", where, f"o.name {wanted.way}, o.id {wanted.way}", wanted)


def by_slug(tx: Tx, slug: str) -> Row | None:
    """An organization by its slug."""
    return tx.one("SELECT * FROM organization WHERE slug = :slug", slug=slug)


def create(tx: Tx, name: str, *, slug: str | None = None, uuid: str | None = None) -> Row:
    """Make an organization without members."""
    now_ms = tx.now_ms()
    row = {
        "uuid": uuid or fresh_uuid(now_ms),
        "name": name,
        "slug": slug or free_slug(tx, "organization", name),
        "created_ms": now_ms,
    }
    return tx.insert("organization", tuple(row), [tuple(row.values())], returning="*")[0]


def personal(tx: Tx, user: Row) -> Row:
    """A user's own organization: it has the user's UUID, and is made when it is first needed."""
    known = tx.one("SELECT * FROM organization WHERE uuid = :uuid", uuid=user["uuid"])
    if known is not None:
        return known
    made = create(tx, user["name"], uuid=user["uuid"])
    join(tx, made["id"], user["id"])
    return made


def claimed_ms(tx: Tx, organization_id: int) -> int | None:
    """Since when an organization has members."""
    sql = "SELECT MIN(created_ms) AS claimed FROM organization_member WHERE organization_id = :id"
    since: int | None = tx.value(sql, id=organization_id)
    return since


def join(tx: Tx, organization_id: int, user_id: int, role: Role = Role.LEADER) -> None:
    """Make a user a member."""
    columns = ("organization_id", "user_id", "role", "created_ms")
    tx.insert("organization_member", columns, [(organization_id, user_id, role, tx.now_ms())])


def role_of(tx: Tx, organization_id: int, user_id: int) -> Role | None:
    """What a user is in an organization."""
    sql = "SELECT role FROM organization_member WHERE organization_id = :organization AND user_id = :user"
    role = tx.value(sql, organization=organization_id, user=user_id)
    return None if role is None else Role(role)


def claim(tx: Tx, organization_id: int, user_id: int) -> None:
    """Make a user the leader of an unclaimed organization; its jobs that wait rise to the priority of claimed ones."""
    join(tx, organization_id, user_id)
    tx.run(
        "UPDATE job SET priority = 100 WHERE organization_id = :id AND state = 'pending' AND priority = 0",
        id=organization_id,
    )
