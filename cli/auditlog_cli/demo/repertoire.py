"""Every action of the built-in catalog: how often it happens, who does it, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from auditlog_cli.demo import license_acts as on_license
from auditlog_cli.demo import office_acts as in_office
from auditlog_cli.demo import sales_acts as in_sales
from auditlog_cli.demo.deed import Act


@dataclass(frozen=True, slots=True)
class Doers:
    """How often, of a hundred times, each kind of actor does something."""

    staff: int = 0
    integration: int = 0
    customer: int = 0
    system: int = 0


STAFF: Final = Doers(staff=100)
SHOP: Final = Doers(staff=30, integration=70)
LICENSING: Final = Doers(staff=45, integration=55)
PORTAL: Final = Doers(staff=20, integration=10, customer=70)
SCHEDULE: Final = Doers(staff=10, system=90)


@dataclass(frozen=True, slots=True)
class Part:
    """One action: `weight` is how often it happens, compared with the others."""

    action: str
    weight: float
    doers: Doers
    act: Act


REPERTOIRE: Final = (
    Part("platform_user_added", 2, STAFF, in_office.add_user),
    Part("platform_user_updated", 4, STAFF, in_office.update_user),
    Part("platform_user_removed", 1.5, STAFF, in_office.remove_user),
    Part("user_permission_template_created", 1, STAFF, in_office.create_template),
    Part("user_permission_template_updated", 2, STAFF, in_office.update_template),
    Part("user_permission_template_permissions_set", 3, STAFF, in_office.set_permissions),
    Part("user_permission_template_deleted", 0.7, STAFF, in_office.delete_template),
    Part("notification_policy_created", 1, STAFF, in_office.create_policy),
    Part("notification_policy_updated", 4, STAFF, in_office.update_policy),
    Part("notification_policy_deleted", 0.7, STAFF, in_office.delete_policy),
    Part("product_created", 3, STAFF, in_office.create_product),
    Part("product_updated", 10, STAFF, in_office.update_product),
    Part("product_activated", 3, STAFF, in_office.activate_product),
    Part("product_deactivated", 4, STAFF, in_office.deactivate_product),
    Part("product_archived", 3, STAFF, in_office.archive_product),
    Part("product_unarchived", 1, STAFF, in_office.unarchive_product),
    Part("product_deleted", 1, STAFF, in_office.delete_product),
    Part("customer_created", 70, SHOP, in_sales.create_customer),
    Part("customer_updated", 40, SHOP, in_sales.update_customer),
    Part("customer_deleted", 5, STAFF, in_sales.delete_customer),
    Part("order_created", 80, SHOP, in_sales.create_order),
    Part("order_updated", 70, SHOP, in_sales.update_order),
    Part("order_manager_added", 10, STAFF, in_sales.add_manager),
    Part("order_manager_removed", 4, STAFF, in_sales.remove_manager),
    Part("order_deleted", 4, STAFF, in_sales.delete_order),
    Part("license_created", 120, LICENSING, on_license.create_license),
    Part("license_updated", 60, LICENSING, on_license.update_license),
    Part("license_reset", 35, LICENSING, on_license.reset_license),
    Part("license_disabled", 18, LICENSING, on_license.disable_license),
    Part("license_enabled", 15, LICENSING, on_license.enable_license),
    Part("license_consumption_reset", 60, SCHEDULE, on_license.reset_consumption),
    Part("license_user_assigned", 90, LICENSING, on_license.assign_user),
    Part("license_user_unassigned", 35, LICENSING, on_license.unassign_user),
    Part("license_features_updated", 40, LICENSING, on_license.update_features),
    Part("license_deleted", 12, LICENSING, on_license.delete_license),
    Part("license_custom_field_created", 15, STAFF, on_license.create_custom_field),
    Part("license_custom_field_updated", 12, STAFF, on_license.update_custom_field),
    Part("license_custom_field_deleted", 5, STAFF, on_license.delete_custom_field),
    Part("device_reset", 60, PORTAL, on_license.reset_device),
    Part("device_blacklisted", 8, STAFF, on_license.blacklist_device),
    Part("device_borrowed", 50, PORTAL, on_license.borrow_device),
    Part("device_borrow_released", 45, PORTAL, on_license.release_borrow),
)
