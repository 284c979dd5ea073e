#pragma once

namespace wkv::addon {

// Keeps the addon's code in memory until the process ends. A worker that ends unloads the addons that only it
// had loaded, but the pool's threads still run in this one.
void pin_library();

}  // namespace wkv::addon
