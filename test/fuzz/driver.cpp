// A fuzzer that works with every compiler: it mutates the inputs of the corpus until its time is
// over. Unlike libFuzzer (the option `libfuzzer` of meson.build) it does not see which code an
// input reaches. But it works in every build, so a sanitizer build of the tests can also fuzz.
//
//   veza_fuzz READER SECONDS CORPUS [SEED]
//
// With 0 seconds it only replays the corpus. The input on which it fails is left in ./crash-READER.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "fuzz/readers.h"
#include "sanitizers.h"

#if defined(VEZA_ADDRESS_SANITIZER)
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif

namespace {

using veza::Bytes;
using veza::ByteView;

constexpr unsigned kSecondsForAnInput = 20;
constexpr long kMostMemory = 2L << 20;  // KiB, including what the sanitizer needs
constexpr std::size_t kLongestInput = 64U << 10;

Bytes g_input;
std::string g_left_in;

void SaveInput() {
  std::ofstream(g_left_in, std::ios::binary)
      .write(reinterpret_cast<const char*>(g_input.data()),
             static_cast<std::streamsize>(g_input.size()));
}

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "veza_fuzz: %s; the input is in %s\n", what, g_left_in.c_str());
  SaveInput();
  _exit(1);
}

void OnSignal(int number) {
  Fail(number == SIGALRM ? "an input takes too long" : "an input ends the process");
}

class Mutator {
 public:
  Mutator(std::vector<Bytes> corpus, std::uint64_t seed)
      : corpus_(std::move(corpus)), random_(seed) {}

  Bytes Next() {
    Bytes input = Below(50) == 0 ? Bytes() : corpus_[Below(corpus_.size())];
    for (std::size_t count = 1 + Below(8); count > 0; --count) {
      Mutate(input);
    }
    input.resize(std::min(input.size(), kLongestInput));
    return input;
  }

 private:
  std::size_t Below(std::size_t limit) { return limit == 0 ? 0 : random_() % limit; }

  void Mutate(Bytes& input) {
    const std::size_t at = Below(input.size());
    switch (Below(9)) {
      case 0:
        return FlipBit(input, at);
      case 1:
        return Overwrite(input, at, 1 + Below(8));
      case 2:
        return Erase(input, at, 1 + Below(16));
      case 3:
        return Insert(input, at, RandomBytes(1 + Below(8)));
      case 4:  // repeats a part
        return Insert(input, at, Part(input, Below(input.size()), 1 + Below(64)));
      case 5: {  // copies a part of another input
        const Bytes& other = corpus_[Below(corpus_.size())];
        return Insert(input, at, Part(other, Below(other.size()), 1 + Below(256)));
      }
      case 6:
        return ReplaceNumber(input, at);
      case 7:
        return Insert(input, at, Token());
      default:
        input.resize(Below(8) == 0 ? at : input.size());
    }
  }

  static void Insert(Bytes& input, std::size_t at, const Bytes& what) {
    input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), what.begin(), what.end());
  }
  static Bytes Part(const Bytes& of, std::size_t at, std::size_t length) {
    const auto begin = of.begin() + static_cast<std::ptrdiff_t>(at);
    return {begin, begin + static_cast<std::ptrdiff_t>(std::min(length, of.size() - at))};
  }
  void FlipBit(Bytes& input, std::size_t at) {
    if (!input.empty()) {
      input[at] ^= static_cast<std::uint8_t>(1U << Below(8));
    }
  }
  void Overwrite(Bytes& input, std::size_t at, std::size_t length) {
    static constexpr std::array<std::uint8_t, 8> kEdges{0, 1, 0x7F, 0x80, 0xFF, '0', '"', '\n'};
    for (std::size_t i = at; i < std::min(at + length, input.size()); ++i) {
      input[i] =
          Below(2) == 0 ? kEdges[Below(kEdges.size())] : static_cast<std::uint8_t>(random_());
    }
  }
  static void Erase(Bytes& input, std::size_t at, std::size_t length) {
    const auto begin = input.begin() + static_cast<std::ptrdiff_t>(at);
    input.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(length, input.size() - at)));
  }
  Bytes RandomBytes(std::size_t length) {
    Bytes bytes(length);
    std::ranges::generate(bytes, [&] { return static_cast<std::uint8_t>(random_()); });
    return bytes;
  }
  static Bytes AsBytes(std::string_view text) { return {text.begin(), text.end()}; }

  // Replaces a number in the text by an extreme length or offset.
  void ReplaceNumber(Bytes& input, std::size_t at) {
    const auto is_digit = [](std::uint8_t byte) { return byte >= '0' && byte <= '9'; };
    const auto begin =
        std::find_if(input.begin() + static_cast<std::ptrdiff_t>(at), input.end(), is_digit);
    const auto end = std::find_if_not(begin, input.end(), is_digit);
    const auto where = static_cast<std::size_t>(begin - input.begin());
    input.erase(begin, end);
    static constexpr std::array<const char*, 14> kNumbers{
        "0",          "1",          "-1",         "2147483647",          "2147483648",
        "4294967295", "4294967296", "4294967297", "9223372036854775807", "9223372036854775808",
        "1048577",    "33554432",   "1e400",      "18446744073709551615"};
    Insert(input, where, AsBytes(kNumbers[Below(kNumbers.size())]));
  }

  Bytes Token() {
    static constexpr std::array<const char*, 22> kTokens{
        "[",       "]",       "{",    "}",    ",",   ":",    "\"",
        "\\u0000", "\\ud800", "null", "true", "<a>", "</a>", "&lt;",
        "%00",     "\n",      "'",    "''",   "\\",  "/../", "[[[[[[[[[[[[[[[[[",
        "\xC3\xA9"};
    return AsBytes(kTokens[Below(kTokens.size())]);
  }

  std::vector<Bytes> corpus_;
  std::mt19937_64 random_;
};

std::vector<Bytes> ReadCorpus(const char* directory) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  std::vector<Bytes> corpus;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return corpus;
}

void Run(const veza::fuzz::Reader& reader, Bytes input) {
  g_input = std::move(input);
  alarm(kSecondsForAnInput);
  reader.run(g_input);
  alarm(0);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  if (usage.ru_maxrss > kMostMemory) {
    Fail("an input takes too much memory");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const veza::fuzz::Reader* const reader = argc >= 4 ? veza::fuzz::FindReader(argv[1]) : nullptr;
  if (reader == nullptr) {
    for (const veza::fuzz::Reader& known : veza::fuzz::AllReaders()) {
      std::printf("%s\n", known.name);
    }
    return argc == 1 ? 0 : 2;
  }
  g_left_in = std::string("crash-") + reader->name;
  std::signal(SIGALRM, OnSignal);
  std::signal(SIGABRT, OnSignal);
#if defined(VEZA_ADDRESS_SANITIZER)
  __sanitizer_set_death_callback(SaveInput);
#endif
  const std::vector<Bytes> corpus = ReadCorpus(argv[3]);
  if (corpus.empty()) {
    std::fprintf(stderr, "veza_fuzz: there is no corpus in %s\n", argv[3]);
    return 2;
  }
  for (const Bytes& input : corpus) {
    Run(*reader, input);
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[2]));
  const std::uint64_t seed = argc > 4 ? std::stoull(argv[4]) : std::random_device()();
  Mutator mutator(corpus, seed);
  std::uint64_t inputs = corpus.size();
  for (; std::chrono::steady_clock::now() < end; ++inputs) {
    Run(*reader, mutator.Next());
  }
  std::printf("ok %s: %llu inputs (seed %llu)\n", reader->name,
              static_cast<unsigned long long>(inputs), static_cast<unsigned long long>(seed));
  return 0;
}
