"""The vendor's licenses, orders, customers and products as its own application shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from auditlog_cli.demo.vendor import Item, License, Order, Person, Product, Vendor

Fact: TypeAlias = tuple[str, str, Item | None]

KINDS: Final = {"license": "Licenses", "order": "Orders", "customer": "Customers", "product": "Products"}
"""The types of items with pages of their own, and how many of them are called."""
LISTED_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Record:
    """One detail page: what the item is called, and what is known of it; a fact may link to another item."""

    type: str
    id: str
    title: str
    status: str
    facts: tuple[Fact, ...]


def listed(vendor: Vendor, type: str) -> list[Record]:
    """Return the newest items of a type."""
    return [_record(vendor, item) for item in reversed(_items(vendor, type)[-LISTED_MAX:])]


def record_of(vendor: Vendor, type: str, id: str) -> Record:
    """Return an item's page; an item that is gone has no facts, and its log all the same."""
    found = next((item for item in _items(vendor, type) if item.id == id), None)
    return Record(type, id, id, "deleted", ()) if found is None else _record(vendor, found)


def _items(vendor: Vendor, type: str) -> Sequence[Item]:
    items: dict[str, Sequence[Item]] = {
        "license": vendor.licenses,
        "order": vendor.orders,
        "customer": vendor.customers,
        "product": vendor.products,
    }
    return items[type]


def _record(vendor: Vendor, item: Item) -> Record:
    if isinstance(item, License):
        return _license(item)
    if isinstance(item, Order):
        return _order(vendor, item)
    if isinstance(item, Product):
        return _product(vendor, item)
    facts: list[Fact] = [("Email", item.email, None)] if isinstance(item, Person) else []
    orders = [order for order in vendor.orders if order.customer is item]
    facts += [("Order", order.name, order) for order in orders[-5:]]
    return Record("customer", item.id, item.name, "active", tuple(facts))


def _license(license: License) -> Record:
    order = license.order
    links = (("Product", license.product), ("Order", order), ("Customer", order and order.customer))
    facts: list[Fact] = [(label, item.name, item) for label, item in links if item]
    facts += [
        ("Seats", str(license.seats), None),
        ("Features", ", ".join(license.features) or "none", None),
        ("Users", ", ".join(license.users) or "nobody", None),
        ("Devices", ", ".join(device.name for device in license.devices) or "none", None),
    ]
    own = license.custom_fields.items()
    facts += [(name.replace("_", " ").capitalize(), text, None) for name, text in own]
    return Record(
        "license", license.id, license.name, "enabled" if license.enabled else "disabled", tuple(facts)
    )


def _order(vendor: Vendor, order: Order) -> Record:
    facts: list[Fact] = [("Customer", order.customer.name, order.customer)] if order.customer else []
    facts.append(("Managers", ", ".join(order.managers) or "nobody", None))
    licenses = [license for license in vendor.licenses if license.order is order]
    facts += [("License", license.name, license) for license in licenses[-6:]]
    return Record("order", order.id, order.name, order.status, tuple(facts))


def _product(vendor: Vendor, product: Product) -> Record:
    status = "archived" if product.archived else "on sale" if product.active else "inactive"
    sold = sum(license.product is product for license in vendor.licenses)
    facts: list[Fact] = [("Price", f"{product.price} EUR", None), ("Licenses", str(sold), None)]
    return Record("product", product.id, product.name, status, tuple(facts))
