// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include <registry/bytes.hpp>

namespace registry {

/// How one value becomes bytes and back: the customization point of the library. Specialise it for a type of yours,
/// in one of two forms.
///
/// Fixed size:     static constexpr std::size_t size;
///                 static void-or-bool encode(const T&, std::span<std::byte, size>);
///                 static std::optional<T> decode(std::span<const std::byte, size>);
/// Variable size:  static std::size_t encoded_size(const T&);
///                 static void-or-bool encode(const T&, std::span<std::byte>);    // exactly encoded_size bytes
///                 static std::optional<T> decode(std::span<const std::byte>);
///
/// `encode` answers false for a value that has no representation; `decode` answers nothing where the bytes are not a T.
/// Both must be pure: the same value gives the same bytes, and decode(encode(v)) == v. Never memcpy a struct: padding
/// and byte order are not part of a protocol.
template <class T>
struct wire;

namespace detail {

template <class R>
concept EncodeAnswer = std::is_void_v<R> || std::same_as<R, bool>;

template <class T>
concept HasWireSize = requires {
  { wire<T>::size } -> std::convertible_to<std::size_t>;
  typename std::integral_constant<std::size_t, wire<T>::size>;
};

}  // namespace detail

/// A type whose every value takes the same number of bytes.
template <class T>
concept FixedWire = detail::HasWireSize<T> && requires(const T& value, std::span<std::byte, wire<T>::size> out,
                                                       std::span<const std::byte, wire<T>::size> in) {
  { wire<T>::encode(value, out) } -> detail::EncodeAnswer;
  { wire<T>::decode(in) } -> std::same_as<std::optional<T>>;
};

/// A type whose values say their own size. A type with a fixed size is not one: each type has one form.
template <class T>
concept VariableWire =
    !detail::HasWireSize<T> && requires(const T& value, std::span<std::byte> out, std::span<const std::byte> in) {
      { wire<T>::encoded_size(value) } -> std::convertible_to<std::size_t>;
      { wire<T>::encode(value, out) } -> detail::EncodeAnswer;
      { wire<T>::decode(in) } -> std::same_as<std::optional<T>>;
    };

template <class T>
concept WireEncodable = FixedWire<T> || VariableWire<T>;

/// Bytes that `value` takes on the wire.
template <WireEncodable T>
constexpr std::size_t wire_size(const T& value) {
  if constexpr (FixedWire<T>) {
    return wire<T>::size;
  } else {
    return wire<T>::encoded_size(value);
  }
}

/// The least that any `T` takes on the wire: what a count of them may be checked against before allocating.
template <WireEncodable T>
constexpr std::size_t wire_min_size() noexcept {
  if constexpr (FixedWire<T>) {
    return wire<T>::size;
  } else {
    return 0;
  }
}

/// Writes `value` at `out`, which has room for `size == wire_size(value)` bytes; false if it has no representation.
template <WireEncodable T>
constexpr bool wire_encode(const T& value, std::byte* out, std::size_t size) {
  auto encode = [&](auto span) -> bool {
    if constexpr (std::is_void_v<decltype(wire<T>::encode(value, span))>) {
      wire<T>::encode(value, span);
      return true;
    } else {
      return wire<T>::encode(value, span);
    }
  };
  if constexpr (FixedWire<T>) {
    return encode(std::span<std::byte, wire<T>::size>{out, wire<T>::size});
  } else {
    return encode(std::span<std::byte>{out, size});
  }
}

/// Reads a `T` from exactly these bytes; nothing where their number or their content is wrong.
template <WireEncodable T>
constexpr std::optional<T> wire_decode(ByteView in) {
  if constexpr (FixedWire<T>) {
    if (in.size() != wire<T>::size) return std::nullopt;
    return wire<T>::decode(std::span<const std::byte, wire<T>::size>{in.data(), wire<T>::size});
  } else {
    return wire<T>::decode(in);
  }
}

template <std::unsigned_integral T>
  requires(!std::same_as<T, bool> && sizeof(T) <= 8)
struct wire<T> {
  static constexpr std::size_t size = sizeof(T);
  static constexpr void encode(T value, std::span<std::byte, size> out) noexcept { store_le(value, out.data()); }
  static constexpr std::optional<T> decode(std::span<const std::byte, size> in) noexcept {
    return load_le<T>(in.data());
  }
};

/// A digest or any other string of bytes of one length.
template <class Byte, std::size_t N>
  requires(std::same_as<Byte, std::byte> || std::same_as<Byte, std::uint8_t>)
struct wire<std::array<Byte, N>> {
  static constexpr std::size_t size = N;
  static constexpr void encode(const std::array<Byte, N>& value, std::span<std::byte, size> out) noexcept {
    for (std::size_t i = 0; i < N; ++i) out[i] = static_cast<std::byte>(value[i]);
  }
  static constexpr std::optional<std::array<Byte, N>> decode(std::span<const std::byte, size> in) noexcept {
    std::array<Byte, N> value{};
    for (std::size_t i = 0; i < N; ++i) value[i] = static_cast<Byte>(in[i]);
    return value;
  }
};

namespace detail {

template <class>
struct MemberPointer;

template <class Class, class Member>
struct MemberPointer<Member Class::*> {
  using class_type = Class;
  using member_type = Member;
};

template <auto Pointer>
using MemberOf = typename MemberPointer<std::remove_cv_t<decltype(Pointer)>>::member_type;

template <auto Pointer>
using ClassOf = typename MemberPointer<std::remove_cv_t<decltype(Pointer)>>::class_type;

}  // namespace detail

/// The wire form of a struct of fixed-size fields, one behind the other in the order named:
///     template <> struct registry::wire<ChunkId> : registry::wire_fields<&ChunkId::volume, &ChunkId::offset> {};
/// The struct must be default constructible; every field must have a fixed size itself.
template <auto First, auto... Rest>
  requires(FixedWire<detail::MemberOf<First>> && (FixedWire<detail::MemberOf<Rest>> && ...))
struct wire_fields {
  using value_type = detail::ClassOf<First>;
  static constexpr std::size_t size =
      (wire<detail::MemberOf<First>>::size + ... + wire<detail::MemberOf<Rest>>::size);

  static constexpr bool encode(const value_type& value, std::span<std::byte, size> out) {
    std::byte* at = out.data();
    return put(value.*First, at) && (put(value.*Rest, at) && ...);
  }

  static constexpr std::optional<value_type> decode(std::span<const std::byte, size> in) {
    value_type value{};
    const std::byte* at = in.data();
    if (!(take(value.*First, at) && (take(value.*Rest, at) && ...))) return std::nullopt;
    return value;
  }

 private:
  template <class Field>
  static constexpr bool put(const Field& field, std::byte*& at) {
    const bool representable = wire_encode(field, at, wire<Field>::size);
    at += wire<Field>::size;
    return representable;
  }

  template <class Field>
  static constexpr bool take(Field& field, const std::byte*& at) {
    auto decoded = wire_decode<Field>(ByteView{at, wire<Field>::size});
    if (!decoded) return false;
    field = *decoded;
    at += wire<Field>::size;
    return true;
  }
};

}  // namespace registry
