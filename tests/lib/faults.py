"""What a server can do wrong, stage by stage; each is a Script or makes one."""

import asyncio

import dnsmsg
from upstream import Script, answer

# Before TLS.

refuse = Script(listening=False)


async def _close(connection):
    await connection.close()


async def _reset(connection):
    connection.reset()


async def _silence(connection):
    await connection.silence()


async def _http(connection):
    await connection.receive_plain()
    await connection.send_plain(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    await connection.silence()


async def _dns_in_cleartext(connection):
    await connection.receive_plain()
    await connection.send_plain(dnsmsg.framed(dnsmsg.header(0, dnsmsg.QR | dnsmsg.RA, 0, 0, 0, 0)))
    await connection.silence()


async def _fin_in_handshake(connection):
    await connection.receive_plain()
    await connection.close()


async def _close_notify_in_handshake(connection):
    await connection.receive_plain()
    await connection.send_plain(b"\x15\x03\x03\x00\x02\x01\x00")
    await connection.close()


accept_and_close = Script(accepted=_close)
accept_and_reset = Script(accepted=_reset)
accept_and_silence = Script(accepted=_silence)
http = Script(accepted=_http)
cleartext = Script(accepted=_dns_in_cleartext)
fin_in_handshake = Script(accepted=_fin_in_handshake)
close_notify_in_handshake = Script(accepted=_close_notify_in_handshake)
unrecognized_name = Script(tls={"unknown_name": True})

# How TLS leaves the env.


def drip(seconds=0.1):
    """Sends every byte separately, from the ServerHello on."""
    async def outgoing(connection, data):
        for byte in data:
            await connection.send_plain(bytes([byte]))
            await asyncio.sleep(seconds)
    return Script(outgoing=outgoing)


async def _each_byte(connection, data):
    for byte in data:
        await connection.send_plain(bytes([byte]))


byte_by_byte = Script(outgoing=_each_byte)

# After the handshake.


def idle_close(seconds):
    return Script(idle=seconds)


async def _close_established(connection):
    await connection.close()


async def _reset_established(connection):
    connection.reset()


close_after_handshake = Script(established=_close_established)
reset_after_handshake = Script(established=_reset_established)

# Handling of queries.


def _asked(function):
    return Script(on_query=function)


@_asked
async def never_answer(connection, query):
    pass


@_asked
async def close_after_query(connection, query):
    await connection.close()


@_asked
async def reset_after_query(connection, query):
    connection.reset()


@_asked
async def alert_after_query(connection, query):
    # A record that cannot be decrypted is what a broken peer sends.
    await connection.send_plain(b"\x15\x03\x03\x00\x13" + bytes(19))
    await connection.silence()


@_asked
async def one_byte(connection, query):
    await connection.send(dnsmsg.framed(query.answer())[:1])


@_asked
async def half_a_message(connection, query):
    data = dnsmsg.framed(query.answer())
    await connection.send(data[:len(data) // 2])


@_asked
async def half_a_message_and_close(connection, query):
    data = dnsmsg.framed(query.answer())
    await connection.send(data[:len(data) // 2])
    await connection.close()


@_asked
async def drip_answer(connection, query):
    await connection.send_slowly(dnsmsg.framed(query.answer()), 0.1)


def wrong(**wrongly):
    """Answers with dnsmsg.answer() changed by the arguments."""
    async def asked(connection, query):
        await connection.reply(query.answer(**wrongly))
    return Script(on_query=asked)


@_asked
async def wrong_id(connection, query):
    await connection.reply(query.answer(ident=query.seen.ident ^ 0x5555))


@_asked
async def unrelated_first(connection, query):
    stranger = query.answer(ident=query.seen.ident ^ 1, parts=dnsmsg.labels("foreign.test"))
    await connection.send(dnsmsg.framed(stranger) + dnsmsg.framed(query.answer()))


@_asked
async def answer_twice(connection, query):
    await connection.send(dnsmsg.framed(query.answer()) * 2)


@_asked
async def answer_twice_apart(connection, query):
    await connection.reply(query.answer())
    await connection.reply(query.answer())


@_asked
async def multi_message(connection, query):
    for _ in range(5):
        await connection.reply(query.answer())


def opcode(number):
    async def asked(connection, query):
        await connection.reply(query.answer(flags=dnsmsg.QR | dnsmsg.RA | number << 11))
    return Script(on_query=asked)


def message(make):
    """Answers with the bytes that `make` returns for the query."""
    async def asked(connection, query):
        await connection.reply(make(query))
    return Script(on_query=asked)


def rcode(code, ede=None, text=b""):
    """An error, with an Extended DNS Error if the query had an OPT."""
    options = b"" if ede is None else dnsmsg.option(dnsmsg.EDE, ede.to_bytes(2, "big") + text)
    return wrong(rcode=code, options=options)


@_asked
async def close_after_answer(connection, query):
    await answer(connection, query)
    await connection.close()


@_asked
async def reset_after_answer(connection, query):
    await answer(connection, query)
    connection.reset()


@_asked
async def fin_without_close_notify(connection, query):
    await answer(connection, query)
    await connection.close(notify=False)


def first_answered_then(then):
    """Answers the first query of each connection; the others get `then`."""
    async def asked(connection, query):
        await (answer if query.number == 0 else then.on_query)(connection, query)
    return Script(on_query=asked)


@_asked
async def unsolicited_afterwards(connection, query):
    """Answers, and a little later sends an unsolicited response."""
    await answer(connection, query)
    await asyncio.sleep(0.05)
    await connection.reply(query.answer(ident=query.seen.ident ^ 1))


def slow(seconds):
    async def asked(connection, query):
        await asyncio.sleep(seconds)
        await answer(connection, query)
    return Script(on_query=asked)


@_asked
async def reverse_order(connection, query):
    """Answers queries in reverse order."""
    await asyncio.sleep(max(0.0, 0.2 - 0.002 * query.number))
    await connection.reply(query.answer())


# Unusual TLS that a client must accept.


@_asked
async def key_update_and_answer(connection, query):
    connection.session.update_key()
    await connection.flush()
    await answer(connection, query)


@_asked
async def answer_and_key_update(connection, query):
    await answer(connection, query)
    connection.session.update_key()
    await connection.flush()


@_asked
async def renegotiate_and_answer(connection, query):
    connection.session.renegotiate()
    await connection.flush()
    await answer(connection, query)


@_asked
async def answer_and_renegotiate(connection, query):
    await answer(connection, query)
    connection.session.renegotiate()
    await connection.flush()


def with_pyopenssl(newest):
    """TLS with pyOpenSSL, which the scripts above need."""
    return Script(tls={"raw": True, "newest": newest})


def from_connection(number, otherwise):
    """Connections from this number on are answered, earlier ones get `otherwise`."""
    async def asked(connection, query):
        await (answer if connection.number >= number else otherwise.on_query)(connection, query)
    return Script(on_query=asked)


def ends_after(count, delay=0.0):
    """Closes each connection after this number of responses, even with queries in flight."""
    async def asked(connection, query):
        await asyncio.sleep(delay + query.delay)
        answered = connection.facts.setdefault("answered", 0)
        if answered == count:
            return
        connection.facts["answered"] = answered + 1
        await connection.reply(query.answer())
        if answered + 1 == count:
            await connection.close()
    return Script(on_query=asked)


def lives_for(seconds, delay=0.0):
    """Closes each connection after some seconds."""
    async def established(connection):
        await asyncio.sleep(seconds)
        await connection.close()
    return Script(established=established, on_query=slow(delay).on_query)


def closes_at(name, delay=0.0):
    """Closes the connection, with all queries in flight, at a query for that name."""
    async def asked(connection, query):
        if query.name == name:
            await connection.close()
            return
        await asyncio.sleep(delay)
        await answer(connection, query)
    return Script(on_query=asked)


async def _reset_every_second(connection):
    if connection.number % 2:
        connection.reset()


reset_every_second = Script(established=_reset_every_second)
