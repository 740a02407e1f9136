"""What people do to users, permission templates, notification policies and products."""

from __future__ import annotations

from auditlog_cli.demo import names
from auditlog_cli.demo.deed import Deed
from auditlog_cli.demo.vendor import Item, Product, Vendor
from auditlog_schemas.event import Change

USERS_MIN = 4
PRODUCTS_MIN = 4


def add_user(vendor: Vendor) -> Deed:
    """platform_user_added."""
    user = vendor.new_user()
    vendor.users.append(user)
    return Deed(
        user.entity, changes=(Change.of("email", None, user.email), Change.of("role", None, "member"))
    )


def update_user(vendor: Vendor) -> Deed | None:
    """platform_user_updated."""
    user = vendor.pick(vendor.users)
    if user is None:
        return None
    roles = vendor.rng.sample(("member", "support", "admin", "viewer"), 2)
    return Deed(user.entity, changes=(Change.of("role", *roles),))


def remove_user(vendor: Vendor) -> Deed | None:
    """platform_user_removed."""
    if len(vendor.users) <= USERS_MIN:
        return None
    user = vendor.users.pop(vendor.rng.randrange(len(vendor.users)))
    return Deed(user.entity, changes=(Change.of("email", user.email, None),))


def create_template(vendor: Vendor) -> Deed:
    """user_permission_template_created."""
    template = Item("user_permission_template", vendor.new_id("tpl"), vendor.rng.choice(names.TEMPLATES))
    vendor.templates.append(template)
    return Deed(template.entity)


def update_template(vendor: Vendor) -> Deed | None:
    """user_permission_template_updated."""
    template = vendor.pick(vendor.templates)
    if template is None:
        return None
    before, template.name = template.name, vendor.rng.choice(names.TEMPLATES)
    return Deed(template.entity, changes=(Change.of("name", before, template.name),))


def set_permissions(vendor: Vendor) -> Deed | None:
    """user_permission_template_permissions_set."""
    template = vendor.pick(vendor.templates)
    if template is None:
        return None
    before, after = (sorted(vendor.rng.sample(names.PERMISSIONS, count)) for count in (3, 5))
    return Deed(template.entity, changes=(Change.of("permissions", before, after),))


def delete_template(vendor: Vendor) -> Deed | None:
    """user_permission_template_deleted."""
    return _deleted(vendor, vendor.templates)


def create_policy(vendor: Vendor) -> Deed:
    """notification_policy_created."""
    policy = Item("notification_policy", vendor.new_id("pol"), vendor.rng.choice(names.POLICIES))
    vendor.policies.append(policy)
    return Deed(policy.entity, changes=(Change.of("enabled", None, True),))


def update_policy(vendor: Vendor) -> Deed | None:
    """notification_policy_updated."""
    policy = vendor.pick(vendor.policies)
    if policy is None:
        return None
    before, after = vendor.rng.sample((1, 3, 7, 14, 30), 2)
    return Deed(policy.entity, changes=(Change.of("days_before", before, after),))


def delete_policy(vendor: Vendor) -> Deed | None:
    """notification_policy_deleted."""
    return _deleted(vendor, vendor.policies)


def create_product(vendor: Vendor) -> Deed:
    """product_created."""
    product = vendor.new_product()
    vendor.products.append(product)
    return Deed(product.entity, changes=(Change.of("price", None, product.price),))


def update_product(vendor: Vendor) -> Deed | None:
    """product_updated."""
    product = vendor.pick(vendor.products)
    if product is None:
        return None
    before, product.price = product.price, vendor.rng.choice((29, 59, 119, 199))
    return Deed(product.entity, changes=(Change.of("price", before, product.price),))


def activate_product(vendor: Vendor) -> Deed | None:
    """product_activated."""
    product = vendor.pick([one for one in vendor.products if not one.active and not one.archived])
    return None if product is None else _switched(product, active=True)


def deactivate_product(vendor: Vendor) -> Deed | None:
    """product_deactivated."""
    active = [one for one in vendor.products if one.active]
    product = vendor.pick(active) if len(active) > PRODUCTS_MIN else None
    return None if product is None else _switched(product, active=False)


def archive_product(vendor: Vendor) -> Deed | None:
    """product_archived."""
    product = vendor.pick([one for one in vendor.products if not one.active and not one.archived])
    if product is None:
        return None
    product.archived = True
    return Deed(product.entity)


def unarchive_product(vendor: Vendor) -> Deed | None:
    """product_unarchived."""
    product = vendor.pick([one for one in vendor.products if one.archived])
    if product is None:
        return None
    product.archived = False
    return Deed(product.entity)


def delete_product(vendor: Vendor) -> Deed | None:
    """product_deleted."""
    product = vendor.pick([one for one in vendor.products if one.archived])
    if product is None:
        return None
    vendor.products.remove(product)
    return Deed(product.entity)


def _switched(product: Product, active: bool) -> Deed:
    product.active = active
    return Deed(product.entity, changes=(Change.of("active", not active, active),))


def _deleted(vendor: Vendor, items: list[Item]) -> Deed | None:
    if len(items) < 2:
        return None
    return Deed(items.pop(vendor.rng.randrange(len(items))).entity)
