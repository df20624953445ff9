"""moss with near peers and peers behind a bad link.

All tests but the last one have two mosses at once: one with a near master and a far client, one
with a far master and a near client. These are different paths through moss.
"""

import asyncio
import json
import time

from peers import (
    MASTER_LEFT,
    PATIENCE,
    Peer,
    arrive_at_client,
    arrive_at_master,
    both_ways,
    left,
    send_to_client,
    send_to_master,
    undisturbed,
)

WIFI = ("wifi", "192.0.2")
MOBILE = ("mobile", "198.51.100")

# Tolerance for deadlines on a busy machine. TCP alone would keep a lost peer for a quarter of an hour.
SLACK = 60


class Neighbours:
    """A near master with a near client, and a far client."""

    @classmethod
    async def meet(cls, moss):
        all = cls()
        all.master, all.client = await Peer.near(moss), await Peer.near(moss)
        await all.master.become_master(1)
        all.id = await all.client.log_in(all.master, 1)
        all.far = await Peer.far(moss)
        all.far_id = await all.far.log_in(all.master, 1)
        return all

    def go_on(self):
        async def there_and_back(number):
            name = f"near-{number}"
            await send_to_master(self.client, name, 1)
            await arrive_at_master(self.master, self.id, name, 1)
            await send_to_client(self.master, self.id, name, 1)
            await arrive_at_client(self.client, name, 1)

        return undisturbed("the near client and its master", there_and_back)


class Exile:
    """A far master with a near client, and a near guest."""

    @classmethod
    async def meet(cls, moss):
        all = cls()
        all.master, all.client, all.guest = (
            await Peer.far(moss),
            await Peer.near(moss),
            await Peer.near(moss),
        )
        await all.master.become_master(1)
        all.id = await all.client.log_in(all.master, 1)
        return all

    def go_on(self):
        return undisturbed("the guest and moss", lambda _: self.guest.expect_nothing())


def test_packets_over_a_bad_link_arrive_once_in_order_and_whole(start, cable):
    async def test():
        near, exile = await Neighbours.meet(neighbours), await Exile.meet(master_far)
        async with near.go_on(), exile.go_on(), asyncio.TaskGroup() as all:
            all.create_task(both_ways(near.master, near.far, near.far_id, "a", 400))
            all.create_task(both_ways(exile.master, exile.client, exile.id, "b", 400))

    neighbours, master_far = start("neighbours"), start("master-far")
    wifi = cable(*WIFI, loss=0.05, overtaking=0.1)
    wifi.lead_to_moss()
    asyncio.run(test())
    counts = wifi.counts()
    print(counts)
    # The link did lose and reorder packets.
    assert counts["carried"] > 800
    assert counts["lost"] > counts["carried"] / 50
    assert counts["overtook"] > counts["carried"] / 50


def test_nothing_is_lost_while_the_cable_is_pulled_for_20_seconds(start, cable):
    async def test():
        near, exile = await Neighbours.meet(neighbours), await Exile.meet(master_far)
        async with near.go_on(), exile.go_on(), asyncio.TaskGroup() as all:
            # A packet now and then, before, during and after the outage.
            all.create_task(both_ways(near.master, near.far, near.far_id, "a", 240, pause=0.1))
            # As fast as possible. moss has to stop reading from this client.
            flood = all.create_task(send_to_master(exile.client, "b", FLOOD))
            all.create_task(arrive_at_master(exile.master, exile.id, "b", FLOOD))
            all.create_task(send_to_client(exile.master, exile.id, "c", 240, pause=0.1))
            all.create_task(arrive_at_client(exile.client, "c", 240))
            await asyncio.sleep(1)
            wifi.pull()
            await asyncio.sleep(20)
            assert not flood.done(), "the client did not have to wait"
            wifi.plug()
        await exile.client.expect_nothing()
        await exile.master.expect_nothing(exile.id)

    # More than fits into moss's backlog and the kernel's buffers together.
    FLOOD = 1500
    # TCP doubles its waits: after an outage of 20 seconds it may try again only a minute later if its
    # packets were slow before, as on a busy machine.
    patient = {"MOSS_KEEPALIVE_SECONDS": "240"}
    neighbours = start("neighbours", **patient)
    small = {"MOSS_MAX_PACKET_BYTES": "16384", "MOSS_MAX_BACKLOG_BYTES": "131072"}
    master_far = start("master-far", **patient, **small)
    # No further losses: losing the first packet after the 20 seconds would cost most of a minute.
    # The previous test has losses.
    wifi = cable(*WIFI, overtaking=0.1)
    wifi.lead_to_moss()
    asyncio.run(test())


def test_peers_behind_a_pulled_cable_are_dropped_without_an_effect_on_others(start, cable):
    async def test():
        near, exile = await Neighbours.meet(neighbours), await Exile.meet(master_far)
        async with near.go_on(), exile.go_on():
            # They must still be connected before the cable is pulled.
            await asyncio.sleep(keepalive)
            wifi.pull()
            pulled = time.monotonic()
            # With packets in flight to both.
            await send_to_client(near.master, near.far_id, "lost", 3)
            await send_to_master(exile.client, "lost", 3)
            await near.master.expect(left(near.far_id), within=in_time)
            print(f"the client was dropped after {time.monotonic() - pulled:.1f} s")
            await exile.client.expect(MASTER_LEFT, within=in_time)
            print(f"the master was dropped after {time.monotonic() - pulled:.1f} s")
            assert time.monotonic() - pulled < in_time
            wifi.plug()
            # The kernel still tries to send the Close. A peer that sends something before it
            # arrives gets a reset, as the connection does not exist any more.
            assert await near.far.closed(PATIENCE) in (1011, 1006)
            assert await exile.master.closed(PATIENCE) in (1011, 1006)
            # Packets to them get error packets as answers, and the next peers are served at once.
            await exile.client.send('{"type":"late"}')
            assert "no-master" in await exile.client.receive()
            next = await Peer.near(master_far)
            await next.become_master(2)
            await exile.client.expect('{"type":"offer","payload":2}')
        await near.master.send('{"type":"late","id":"%s"}' % near.far_id)
        assert "unknown-client" in await near.master.receive()

    keepalive = 5
    # Silent for twice the keepalive, checked once a second.
    in_time = 2 * keepalive + 1 + SLACK
    neighbours = start("neighbours", MOSS_KEEPALIVE_SECONDS=str(keepalive))
    master_far = start("master-far", MOSS_KEEPALIVE_SECONDS=str(keepalive))
    wifi = cable(*WIFI)
    wifi.lead_to_moss()
    asyncio.run(test())


def test_phone_that_leaves_the_wifi_comes_back_from_another_address(start, cable):
    async def test():
        near = await Neighbours.meet(moss)
        async with near.go_on():
            await both_ways(near.master, near.far, near.far_id, "wifi", 20)
            wifi.pull()
            gone = time.monotonic()
            mobile.lead_to_moss()
            # The phone notices before moss does. For moss it is another client.
            phone = await Peer.far(moss)
            assert (near.far.address, phone.address) == (wifi.address, mobile.address)
            await phone.send('{"type":"login"}')
            await phone.expect('{"type":"offer","payload":1}')
            said = []
            while len(said) < 2:
                packet = json.loads(await near.master.receive(within=in_time))
                said.append((packet["type"], packet["payload"]["id"]))
                print(f"{packet['type']} after {time.monotonic() - gone:.1f} s")
            # Mostly in this order, but the mobile network may be slower than the keepalive.
            said = dict(said)
            assert said["client-left"] == near.far_id
            assert said["client-joined"] not in (near.far_id, near.id)
            assert time.monotonic() - gone < in_time
            await both_ways(near.master, phone, said["client-joined"], "mobile", 50)
        await near.master.send('{"type":"late","id":"%s"}' % near.far_id)
        assert "unknown-client" in await near.master.receive()
        await phone.expect_nothing()

    keepalive = 5
    in_time = 2 * keepalive + 1 + SLACK
    moss = start("moss", MOSS_KEEPALIVE_SECONDS=str(keepalive))
    mobile = cable(*MOBILE, delay=0.15, loss=0.05, overtaking=0.1)
    wifi = cable(*WIFI)
    wifi.lead_to_moss()
    asyncio.run(test())
