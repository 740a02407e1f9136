"""What happens to licenses and to the devices that use them."""

from __future__ import annotations

from collections.abc import Callable

from auditlog_cli.demo import names
from auditlog_cli.demo.deed import Act, Deed
from auditlog_cli.demo.vendor import Device, License, Vendor
from auditlog_schemas.event import Change

LICENSES_MIN = 20


def _on_license(do: Callable[[Vendor, License], Deed | None]) -> Act:
    """Let an act choose its license."""

    def act(vendor: Vendor) -> Deed | None:
        license = vendor.pick(vendor.licenses)
        return None if license is None else do(vendor, license)

    return act


def _of(license: License, *changes: Change, metadata: tuple[tuple[str, str], ...] = ()) -> Deed:
    return Deed(license.entity, license.related, changes, metadata)


def create_license(vendor: Vendor) -> Deed:
    """license_created."""
    order = vendor.ordered.pop() if vendor.ordered else vendor.pick(vendor.orders)
    license = vendor.new_license(order)
    vendor.licenses.append(license)
    return _of(
        license, Change.of("seats", None, license.seats), Change.of("features", None, license.features)
    )


@_on_license
def update_license(vendor: Vendor, license: License) -> Deed:
    """license_updated."""
    before = license.seats
    license.seats = before + vendor.rng.choice((1, 5, 10))
    return _of(license, Change.of("seats", before, license.seats))


@_on_license
def reset_license(vendor: Vendor, license: License) -> Deed:
    """license_reset."""
    used = vendor.rng.randint(1, license.seats)
    return _of(license, Change.of("activations", used, 0))


@_on_license
def disable_license(vendor: Vendor, license: License) -> Deed | None:
    """license_disabled."""
    if not license.enabled:
        return None
    license.enabled = False
    reason = vendor.rng.choice(("payment failed", "abuse", "asked by the customer"))
    return _of(license, Change.of("enabled", True, False), metadata=(("reason", reason),))


def enable_license(vendor: Vendor) -> Deed | None:
    """license_enabled."""
    license = vendor.pick([one for one in vendor.licenses[-500:] if not one.enabled])
    if license is None:
        return None
    license.enabled = True
    return _of(license, Change.of("enabled", False, True))


@_on_license
def reset_consumption(vendor: Vendor, license: License) -> Deed:
    """license_consumption_reset."""
    return _of(license, Change.of("consumption", vendor.rng.randint(10, 5_000), 0))


@_on_license
def assign_user(vendor: Vendor, license: License) -> Deed:
    """license_user_assigned."""
    user = vendor.new_person("customer", "cus", "example.org").email
    license.users.append(user)
    return _of(license, metadata=(("user", user),))


def unassign_user(vendor: Vendor) -> Deed | None:
    """license_user_unassigned."""
    license = vendor.pick([one for one in vendor.licenses[-200:] if one.users])
    return None if license is None else _of(license, metadata=(("user", license.users.pop()),))


@_on_license
def update_features(vendor: Vendor, license: License) -> Deed:
    """license_features_updated."""
    before = license.features
    license.features = sorted(vendor.rng.sample(names.FEATURES, vendor.rng.randint(2, 5)))
    return _of(license, Change.of("features", before, license.features))


def delete_license(vendor: Vendor) -> Deed | None:
    """license_deleted."""
    if len(vendor.licenses) <= LICENSES_MIN:
        return None
    return _of(vendor.licenses.pop(vendor.rng.randrange(len(vendor.licenses))))


@_on_license
def create_custom_field(vendor: Vendor, license: License) -> Deed | None:
    """license_custom_field_created."""
    free = [name for name in names.CUSTOM_FIELDS if name not in license.custom_fields]
    if not free:
        return None
    name = vendor.rng.choice(free)
    license.custom_fields[name] = value = vendor.rng.choice(names.REGIONS)
    return _of(license, Change.of(name, None, value), metadata=(("custom_field", name),))


def update_custom_field(vendor: Vendor) -> Deed | None:
    """license_custom_field_updated."""
    license = vendor.pick([one for one in vendor.licenses[-200:] if one.custom_fields])
    if license is None:
        return None
    name, before = next(iter(license.custom_fields.items()))
    license.custom_fields[name] = after = vendor.rng.choice(names.REGIONS)
    return _of(license, Change.of(name, before, after), metadata=(("custom_field", name),))


def delete_custom_field(vendor: Vendor) -> Deed | None:
    """license_custom_field_deleted."""
    license = vendor.pick([one for one in vendor.licenses[-200:] if one.custom_fields])
    if license is None:
        return None
    name, before = license.custom_fields.popitem()
    return _of(license, Change.of(name, before, None), metadata=(("custom_field", name),))


@_on_license
def reset_device(vendor: Vendor, license: License) -> Deed:
    """device_reset."""
    return _on_device(vendor.pick(license.devices) or vendor.new_device(license))


def blacklist_device(vendor: Vendor) -> Deed | None:
    """device_blacklisted."""
    license = vendor.pick([one for one in vendor.licenses[-200:] if len(one.devices) > 1])
    if license is None:
        return None
    return _on_device(license.devices.pop(), Change.of("blacklisted", False, True))


@_on_license
def borrow_device(vendor: Vendor, license: License) -> Deed | None:
    """device_borrowed."""
    device = vendor.new_device(license)
    device.borrowed = True
    return _on_device(device, Change.of("borrowed_days", None, vendor.rng.choice((1, 7, 30))))


def release_borrow(vendor: Vendor) -> Deed | None:
    """device_borrow_released."""
    recent = [device for license in vendor.licenses[-200:] for device in license.devices if device.borrowed]
    device = vendor.pick(recent)
    if device is None:
        return None
    device.borrowed = False
    return _on_device(device)


def _on_device(device: Device, *changes: Change) -> Deed:
    assert device.license is not None
    return Deed(device.entity, (device.license.entity, *device.license.related), changes)
