"""Switches that are asked over their management network: which they are, how one logs in, and what speaks to them.

inventory ─► Target (address, platform) ─┐
credentials (environment, file, Secret) ─┴► drivers.yml ─► napalm │ netmiko │ scrapli ─► Device

The three libraries are extras of the package and are imported when one is used. All that differs between platforms is
a row of `drivers.yml`.
"""
