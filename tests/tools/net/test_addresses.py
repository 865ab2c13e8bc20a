"""No address outside of the public internet passes, in any form."""

import ipaddress

import hypothesis
import hypothesis.strategies as st
import pytest

from nearfar.tools.net import forbidden_kind

V4 = st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)


@hypothesis.given(V4)
def test_what_python_calls_not_global_is_forbidden(address: ipaddress.IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert forbidden_kind(address)


@hypothesis.given(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
def test_so_it_is_for_the_new_addresses(address: ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast or int(address) >> 125 != 1:
        assert forbidden_kind(address) or address.ipv4_mapped


@hypothesis.given(V4)
@hypothesis.example(ipaddress.IPv4Address("127.0.0.1"))
@hypothesis.example(ipaddress.IPv4Address("169.254.169.254"))
def test_an_address_inside_another_is_judged_too(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    for outer in (0xFFFF << 32, 0x64FF9B << 96, (0x2A001450 << 96) | (0x5EFE << 32)):
        kind = forbidden_kind(ipaddress.IPv6Address(outer | number))
        assert kind == forbidden_kind(inner)
    for outer in (0, 0xFFFF << 48, 0x20010000 << 96):  # compatible, translated, Teredo
        assert forbidden_kind(ipaddress.IPv6Address(outer | number))
    assert forbidden_kind(ipaddress.IPv6Address((0x2002 << 112) | number << 80))  # 6to4


@pytest.mark.parametrize(
    "public",
    [
        *("1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.1", "172.32.0.1"),
        *("11.0.0.1", "126.255.255.255", "128.0.0.1", "169.253.1.1", "192.167.1.1", "223.1.1.1"),
        *("2606:4700:4700::1111", "2a00:1450:4001::5", "2001:4860:4860::8888", "::ffff:8.8.8.8"),
    ],
)
def test_public_addresses_pass(public: str) -> None:
    assert forbidden_kind(ipaddress.ip_address(public)) is None
