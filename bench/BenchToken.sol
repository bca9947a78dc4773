// SPDX-License-Identifier: MIT
pragma solidity 0.8.34;

/// @notice An ERC20 as plain as can be, which moves real balances many at a time: the benchmark's source of Transfer events.
contract BenchToken {
    event Transfer(address indexed from, address indexed to, uint256 value);

    mapping(address account => uint256 balance) public balanceOf;
    uint256 public totalSupply;
    uint256 private _state;

    uint256 public constant PEOPLE = 10_000;

    /// @return The `index`th of the accounts among which the tokens move.
    function person(uint256 index) public pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode(index)))));
    }

    /// @notice Gives each of the people from `first` on something to move.
    function endow(uint256 first, uint256 count) external {
        for (uint256 i = first; i < first + count; ++i) {
            address to = person(i);
            balanceOf[to] += 1 ether;
            emit Transfer(address(0), to, 1 ether);
        }
        totalSupply += count * 1 ether;
    }

    /// @notice Makes `count` transfers between people whom chance chooses, the same ones in every run.
    function transfers(uint256 count) external {
        uint256 state = _state;
        for (uint256 i = 0; i < count; ++i) {
            state = uint256(keccak256(abi.encode(state)));
            address from = person(state % PEOPLE);
            address to = person((state >> 64) % PEOPLE);
            uint256 value = balanceOf[from] / (2 + ((state >> 128) % 1000));
            balanceOf[from] -= value;
            balanceOf[to] += value;
            emit Transfer(from, to, value);
        }
        _state = state;
    }
}
