"""What happens to customers and orders."""

from __future__ import annotations

from auditlog_cli.demo.deed import Deed
from auditlog_cli.demo.vendor import Order, Vendor
from auditlog_schemas.event import Change, Entity

CUSTOMERS_MIN = 20
ORDERS_MIN = 20


def create_customer(vendor: Vendor) -> Deed:
    """customer_created; the password is there to be redacted before it leaves the service."""
    customer = vendor.new_customer()
    vendor.customers.append(customer)
    return Deed(
        customer.entity,
        changes=(Change.of("email", None, customer.email), Change.of("password", None, vendor.new_id("pw"))),
    )


def update_customer(vendor: Vendor) -> Deed | None:
    """customer_updated."""
    customer = vendor.pick(vendor.customers)
    if customer is None:
        return None
    before, after = vendor.rng.sample(("en", "de", "fr", "es", "ja", "pt-BR"), 2)
    return Deed(customer.entity, changes=(Change.of("language", before, after),))


def delete_customer(vendor: Vendor) -> Deed | None:
    """customer_deleted."""
    if len(vendor.customers) <= CUSTOMERS_MIN:
        return None
    return Deed(vendor.customers.pop(vendor.rng.randrange(len(vendor.customers))).entity)


def create_order(vendor: Vendor) -> Deed:
    """order_created; its licenses are made next."""
    order = vendor.new_order()
    vendor.orders.append(order)
    vendor.ordered += [order] * vendor.rng.choice((1, 1, 2, 3))
    total = vendor.rng.randint(1, 40) * 49
    changes = (
        Change.of("status", None, "open"),
        Change.of("total", None, {"amount": total, "currency": "EUR"}),
    )
    return Deed(order.entity, _customer_of(order), changes)


def update_order(vendor: Vendor) -> Deed | None:
    """order_updated."""
    order = vendor.pick(vendor.orders)
    if order is None:
        return None
    before, order.status = order.status, vendor.rng.choice(("paid", "shipped", "refunded", "on hold"))
    return Deed(order.entity, _customer_of(order), (Change.of("status", before, order.status),))


def add_manager(vendor: Vendor) -> Deed | None:
    """order_manager_added."""
    order = vendor.pick(vendor.orders)
    if order is None:
        return None
    manager = vendor.rng.choice(vendor.users).name
    order.managers.append(manager)
    return Deed(order.entity, _customer_of(order), metadata=(("manager", manager),))


def remove_manager(vendor: Vendor) -> Deed | None:
    """order_manager_removed."""
    order = vendor.pick([order for order in vendor.orders if order.managers])
    if order is None:
        return None
    return Deed(order.entity, _customer_of(order), metadata=(("manager", order.managers.pop()),))


def delete_order(vendor: Vendor) -> Deed | None:
    """order_deleted."""
    if len(vendor.orders) <= ORDERS_MIN:
        return None
    order = vendor.orders.pop(vendor.rng.randrange(len(vendor.orders)))
    return Deed(order.entity, _customer_of(order))


def _customer_of(order: Order) -> tuple[Entity, ...]:
    return (order.customer.entity,) if order.customer else ()
