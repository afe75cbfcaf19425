// The library is handed LAPACK as function pointers; here they are the system's, before any test
// runs.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "core/linalg.h"

extern "C" {
void dsyevd_();
void dsyevr_();
void dpotrf_();
void dpotrs_();
void dpocon_();
void dgeqrf_();
void dgesdd_();
}

namespace manyfit::testing {
namespace {

class LapackTable : public ::testing::Environment {
 public:
  void SetUp() override {
    const std::map<std::string, void (*)()> system = {
        {"dsyevd", dsyevd_}, {"dsyevr", dsyevr_}, {"dpotrf", dpotrf_}, {"dpotrs", dpotrs_},
        {"dpocon", dpocon_}, {"dgeqrf", dgeqrf_}, {"dgesdd", dgesdd_},
    };
    for (const std::string& name : lapack_routines())
      install_lapack(name, reinterpret_cast<void*>(system.at(name)));
  }
};

[[maybe_unused]] const auto* const kTable = ::testing::AddGlobalTestEnvironment(new LapackTable);

}  // namespace
}  // namespace manyfit::testing
